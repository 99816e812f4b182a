//! The tool that a user starts.

use std::{env, path::PathBuf};

use anyhow::{Result, ensure};

/// The path of the tool, in the folder of this program.
///
/// # Errors
/// It was not built.
pub fn tool() -> Result<PathBuf> {
    let tool = env::current_exe()?.with_file_name("temporal-dsql-tool");
    ensure!(tool.is_file(), "{} is not there; `cargo xtask bench` builds it", tool.display());
    Ok(tool)
}
