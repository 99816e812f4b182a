//! Completion scripts, asked by the shells themselves.

use std::process::Command;

use crate::support::Tool;

/// The words that Bash offers for the last of `words`.
fn bash(script: &str, words: &[&str]) -> Vec<String> {
    let program = r#"
        eval "$1"; shift
        [[ $(complete -p temporal-dsql-tool) =~ -F\ ([^ ]+) ]] || exit 3
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        "${BASH_REMATCH[1]}" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let output = Command::new("bash")
        .args(["--norc", "-c", program, "bash", script])
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_their_flags_and_their_values() {
    let script = Tool::nowhere().ok(&["completions", "bash"]).out;
    for (words, offered) in [
        (&["temporal-dsql-tool", "setup"][..], "setup-schema"),
        (&["temporal-dsql-tool", "roll"], "rollback-schema"),
        (&["temporal-dsql-tool", "--end"], "--endpoint"),
        (&["temporal-dsql-tool", "setup-schema", "--ov"], "--overwrite"),
        (&["temporal-dsql-tool", "update-schema", "--"], "--prove"),
        (&["temporal-dsql-tool", "rollback-schema", "--drop"], "--drop-rows"),
        (&["temporal-dsql-tool", "verify", "--output", "j"], "json"),
        (&["temporal-dsql-tool", "--engine", "post"], "postgres"),
        (&["temporal-dsql-tool", "completions", "ba"], "bash"),
    ] {
        let found = bash(&script, words);
        assert!(found.iter().any(|word| word == offered), "{words:?}: {found:?}");
    }
    // A boolean takes its value after an equals sign only.
    let after = bash(&script, &["temporal-dsql-tool", "setup-schema", "--overwrite", "--ver"]);
    assert_eq!(after, ["--version"]);
    // Flags that are only taken to answer lines of the Go tools are not offered.
    let flags = bash(&script, &["temporal-dsql-tool", "setup-schema", "--"]);
    assert!(!flags.iter().any(|flag| flag == "--password"), "{flags:?}");
}

/// Runs `program` of a shell, if the shell is installed; says so if it is not.
#[expect(clippy::print_stderr, reason = "a test that does not run must be visible")]
fn ask(shell: &str, program: &str, script: &str) -> Option<String> {
    match Command::new(shell).args(["-c", program, script]).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("{shell} is not installed, so its completion is not asked");
            None
        }
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{shell}: {output:?}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
    }
}

#[test]
fn fish_completes_the_flags_of_a_command() {
    let script = Tool::nowhere().ok(&["completions", "fish"]).out;
    assert!(script.contains("complete -c temporal-dsql-tool"), "{script}");
    let program =
        "eval (string join \\n -- $argv); complete -C 'temporal-dsql-tool setup-schema --ov'";
    if let Some(offered) = ask("fish", program, &script) {
        assert!(offered.contains("--overwrite"), "{offered}");
    }
}

#[test]
fn zsh_takes_the_script() {
    let script = Tool::nowhere().ok(&["completions", "zsh"]).out;
    assert!(script.starts_with("#compdef temporal-dsql-tool"), "{script}");
    let program = "autoload -U compinit && compinit -u -D && eval \"$0\" && \
                   print -- ${_comps[temporal-dsql-tool]} && functions _temporal-dsql-tool";
    if let Some(function) = ask("zsh", program, &script) {
        assert!(function.starts_with("_temporal-dsql-tool\n"), "{function}");
        assert!(function.contains("setup-schema"), "{function}");
    }
}
