//! Names of objects in messages: they can contain any character.

/// `text` with its control characters escaped, line feeds too, so that it stays one line.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            control if control.is_control() => shown.extend(control.escape_default()),
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_line() {
        assert_eq!(escaped("a\nb\u{1b}[2Jé"), "a\\nb\\u{1b}[2Jé");
    }
}
