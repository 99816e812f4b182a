//! The round trips of other implementations, counted on the wire for the contents of
//! [`typical`](crate::typical).

/// One operation of the Go fork for DSQL and of upstream's PostgreSQL plugin.
pub struct Counted {
    /// Of the Go fork in its default mode, without commits.
    pub fork_default: u32,
    /// Of the Go fork in its reservoir mode, without commits.
    pub fork_reservoir: u32,
    /// Commits of the Go fork in either mode.
    pub fork_commits: u32,
    /// Of upstream's plugin on PostgreSQL with the drivers pq and pgx, with commits.
    pub upstream: [u32; 2],
}

/// Creation of an execution.
pub const CREATE: Counted =
    Counted { fork_default: 46, fork_reservoir: 18, fork_commits: 2, upstream: [24, 14] };
/// Update of an execution.
pub const UPDATE: Counted =
    Counted { fork_default: 44, fork_reservoir: 16, fork_commits: 2, upstream: [22, 12] };
/// Read of an execution.
pub const GET: Counted =
    Counted { fork_default: 27, fork_reservoir: 9, fork_commits: 0, upstream: [18, 9] };
/// Read of a current execution.
pub const GET_CURRENT: Counted =
    Counted { fork_default: 3, fork_reservoir: 1, fork_commits: 0, upstream: [2, 1] };

impl Counted {
    /// The fork's counts in a cell.
    pub fn fork(&self) -> String {
        let commits = match self.fork_commits {
            0 => String::new(),
            commits => format!(" + {commits}"),
        };
        format!("{}{commits}, {}{commits}", self.fork_default, self.fork_reservoir)
    }

    /// Upstream's counts in a cell.
    pub fn upstream(&self) -> String {
        self.upstream.map(|count| count.to_string()).join(", ")
    }
}
