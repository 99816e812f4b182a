//! The highest resident memory of a process.

use std::fs;

/// The highest resident memory of the process `id` so far, in KiB; `None` if it has ended.
///
/// The usage that the kernel reports after the end of a process is not the same: it includes the memory
/// of the parent, which a new process shares before it executes its program.
pub fn high_water_kib(id: u32) -> Option<u64> {
    parse(&fs::read_to_string(format!("/proc/{id}/status")).ok()?)
}

/// The value of `VmHWM:  1234 kB`, a line that a process has until it ends.
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_until_a_process_ends() {
        assert_eq!(parse("Name:\tx\nVmHWM:\t    5120 kB\n"), Some(5_120));
        assert_eq!(parse("Name:\tx\nState:\tZ (zombie)\n"), None);
        assert!(high_water_kib(std::process::id()).is_some_and(|kib| kib > 100));
    }
}
