//! The account that the server runs as: `initdb` refuses root.

use std::fs;

use super::ServerError;

/// A user of the operating system, by numeric ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The account to switch to; `None` unless this process runs as root.
pub(super) fn account() -> Result<Option<Account>, ServerError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd =
        fs::read_to_string("/etc/passwd").map_err(ServerError::io("reading /etc/passwd"))?;
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| find(&passwd, name))
        .map(Some)
        .ok_or(ServerError::NoAccount)
}

/// Finds `name` in the text of `/etc/passwd`.
fn find(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let _password = fields.next()?;
        Some(Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\
                      postgresql:x:7:8::/:/bin/false\n\
                      postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find(passwd, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(find(passwd, "nobody"), None);
    }
}
