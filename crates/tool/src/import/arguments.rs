//! The flags of the commands that read Temporal's database on PostgreSQL.

use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) source: Source,

    /// Let servers of the source run: what they write meanwhile is not copied, so the target is for a
    /// trial
    #[arg(long)]
    pub(crate) rehearse: bool,

    /// Copy nothing: compare every row of both databases; exit code 3 if they differ
    #[arg(long, conflicts_with_all = ["dry_run", "rehearse"])]
    pub(crate) verify: bool,

    /// Copy or compare these tables only, separated by commas
    #[arg(long, value_name = "TABLES", value_delimiter = ',', value_parser = table)]
    pub(crate) tables: Vec<String>,

    /// Chunks that are copied at the same time; each needs a connection to both databases
    #[arg(
        long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64),
        allow_negative_numbers = true
    )]
    pub(crate) jobs: u8,

    /// Check everything that would stop the import, and count the rows; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct FenceSource {
    #[command(flatten)]
    pub(crate) source: Source,

    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Temporal's database on PostgreSQL. A password is read from SQL_SOURCE_PASSWORD.
#[derive(Args, Debug)]
pub(crate) struct Source {
    /// URL of Temporal's main database on PostgreSQL: user, host, port and database, with ?sslmode=
    /// and &sslrootcert= if needed [env: SQL_SOURCE_URL; its password is read from
    /// SQL_SOURCE_PASSWORD]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) from: Option<Url>,
}

/// A URL, which may contain a password.
#[derive(Clone)]
pub(crate) struct Url(pub(crate) String);

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

fn table(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.trim().to_owned())
}

fn url(text: &str) -> Result<Url, std::convert::Infallible> {
    Ok(Url(text.to_owned()))
}
