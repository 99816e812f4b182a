//! Finds PostgreSQL's programs, and installs them.

use std::{
    cmp::Reverse,
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::ServerError;

/// The folder of `initdb` and `postgres`: `PG_BIN`, else Debian's newest, else one on the `PATH`.
/// With `install` and as root on Debian, a missing PostgreSQL is installed.
pub(super) fn folder(install: bool) -> Result<PathBuf, ServerError> {
    let system = System {
        pg_bin: env::var_os("PG_BIN").map(PathBuf::from),
        debian: "/usr/lib/postgresql".into(),
        path: env::var_os("PATH").unwrap_or_default(),
        is_root: rustix::process::geteuid().is_root(),
    };
    system.folder(install)
}

/// The parts of the system that the search depends on.
struct System {
    pg_bin: Option<PathBuf>,
    /// Debian's folder with one subfolder per major version.
    debian: PathBuf,
    path: OsString,
    is_root: bool,
}

impl System {
    fn folder(&self, install: bool) -> Result<PathBuf, ServerError> {
        if let Some(folder) = &self.pg_bin {
            return if holds_programs(folder) {
                Ok(folder.clone())
            } else {
                Err(ServerError::WrongFolder(folder.clone()))
            };
        }
        if let Some(folder) = self.installed() {
            return Ok(folder);
        }
        if install
            && self.is_root
            && let Some(apt_get) = self.on_path("apt-get")
        {
            // A second `apt-get` at the same time would fail.
            let program = File::open(&apt_get).map_err(ServerError::io("opening apt-get"))?;
            program.lock().map_err(ServerError::io("waiting for another installation"))?;
            if let Some(folder) = self.installed() {
                return Ok(folder);
            }
            run(&apt_get, &["update"])?;
            run(&apt_get, &["install", "-y", "postgresql"])?;
        }
        self.installed().ok_or(ServerError::NotInstalled)
    }

    fn installed(&self) -> Option<PathBuf> {
        newest(&self.debian).or_else(|| {
            // All programs are in the folder that the link leads to.
            let initdb = fs::canonicalize(self.on_path("initdb")?).ok()?;
            let folder = initdb.parent()?;
            holds_programs(folder).then(|| folder.to_owned())
        })
    }

    fn on_path(&self, program: &str) -> Option<PathBuf> {
        env::split_paths(&self.path).map(|folder| folder.join(program)).find(|file| file.is_file())
    }
}

/// The programs of the newest version in `versions`.
fn newest(versions: &Path) -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(versions)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(version, _)| Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder).find(|folder| holds_programs(folder))
}

fn holds_programs(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file())
}

fn run(program: &Path, arguments: &[&str]) -> Result<(), ServerError> {
    let command = format!("{} {}", program.display(), arguments.join(" "));
    #[expect(clippy::print_stderr, reason = "the user sees that the installation is running")]
    {
        eprintln!("$ {command}");
    }
    let status = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .map_err(ServerError::io("running apt-get"))?;
    if status.success() { Ok(()) } else { Err(ServerError::Install { command, status }) }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn install(bin: &Path) {
        fs::create_dir_all(bin).unwrap();
        fs::write(bin.join("initdb"), "").unwrap();
        fs::write(bin.join("postgres"), "").unwrap();
    }

    /// A system of root without PostgreSQL, whose `apt-get` runs `script`.
    fn system(script: &str) -> (TempDir, System) {
        let root = tempfile::tempdir().unwrap();
        let script = format!("#!/bin/sh\ncd '{}'\n{script}\n", root.path().display());
        // A child process writes it: another test may fork while the file is open, and a file that
        // is open for writing cannot be executed.
        let written = Command::new("/bin/sh")
            .args(["-c", r#"printf %s "$1" >"$0" && chmod +x "$0""#])
            .args([root.path().join("apt-get").as_os_str(), script.as_ref()])
            .status();
        assert!(written.unwrap().success());
        let system = System {
            pg_bin: None,
            debian: root.path().join("versions"),
            path: root.path().into(),
            is_root: true,
        };
        (root, system)
    }

    const INSTALLS: &str = r#"echo "$DEBIAN_FRONTEND: $*" >>log
        [ "$1" = update ] || { mkdir -p versions/15/bin && touch versions/15/bin/initdb versions/15/bin/postgres; }"#;

    #[test]
    fn debians_newest_version_with_programs_is_taken() {
        let (root, system) = system("exit 1");
        for version in ["9", "15", "old"] {
            install(&system.debian.join(version).join("bin"));
        }
        fs::create_dir_all(system.debian.join("16/bin")).unwrap();
        assert_eq!(system.folder(true).unwrap(), root.path().join("versions/15/bin"));
    }

    #[test]
    fn programs_on_the_path_are_taken_from_where_their_links_lead() {
        let (root, system) = system("exit 1");
        let root = root.path().canonicalize().unwrap();
        install(&root.join("elsewhere"));
        std::os::unix::fs::symlink(root.join("elsewhere/initdb"), root.join("initdb")).unwrap();
        assert_eq!(system.folder(true).unwrap(), root.join("elsewhere"));
    }

    #[test]
    fn pg_bin_takes_precedence_and_must_hold_the_programs() {
        let (root, mut system) = system("exit 1");
        install(&system.debian.join("15/bin"));
        let own = root.path().join("own");
        system.pg_bin = Some(own.clone());
        assert!(matches!(system.folder(true), Err(ServerError::WrongFolder(_))));
        install(&own);
        assert_eq!(system.folder(true).unwrap(), own);
    }

    #[test]
    fn a_missing_postgresql_is_installed_once_without_prompts() {
        let (root, system) = system(&format!("{INSTALLS}\nsleep 0.1"));
        std::thread::scope(|scope| {
            for caller in [(); 3].map(|()| scope.spawn(|| system.folder(true))) {
                let folder = caller.join().unwrap();
                assert_eq!(folder.unwrap(), root.path().join("versions/15/bin"));
            }
        });
        assert_eq!(
            fs::read_to_string(root.path().join("log")).unwrap(),
            "noninteractive: update\nnoninteractive: install -y postgresql\n"
        );
    }

    #[test]
    fn nothing_is_installed_without_the_option_or_without_root() {
        let (root, mut system) = system(INSTALLS);
        assert!(matches!(system.folder(false), Err(ServerError::NotInstalled)));
        system.is_root = false;
        assert!(matches!(system.folder(true), Err(ServerError::NotInstalled)));
        assert!(!root.path().join("log").exists());
    }

    #[test]
    fn an_installation_that_fails_is_named() {
        let (_root, system) = system("exit 100");
        let error = system.folder(true).unwrap_err().to_string();
        assert!(error.contains("apt-get update` ended with exit status: 100"), "{error}");
    }
}
