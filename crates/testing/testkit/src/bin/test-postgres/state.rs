//! The file that records the running server.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use temporal_dsql_testkit::postgres::DetachedServer;

/// The file that records the running server.
pub(crate) struct State(PathBuf);

impl State {
    /// The file in cargo's target folder, which contains the folder of this program.
    ///
    /// # Errors
    /// The program does not know where it is.
    pub(crate) fn in_target_folder() -> Result<Self> {
        let program = env::current_exe().context("the path of this program")?;
        let target = program.ancestors().nth(2).context("this program is in no target folder")?;
        Ok(Self::at(target))
    }

    /// The file in `folder`.
    pub(crate) fn at(folder: &Path) -> Self {
        Self(folder.join("xtask-pg.json"))
    }

    /// The recorded server.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub(crate) fn load(&self) -> Result<Option<DetachedServer>> {
        let text = match fs::read_to_string(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| self.name())?,
        };
        serde_json::from_str(&text).map(Some).with_context(|| {
            format!("{} is damaged; stop the server by hand and remove it", self.name())
        })
    }

    /// Records `server`.
    ///
    /// # Errors
    /// A server is recorded already, by a `start` that ran at the same time, or the file cannot be
    /// written.
    pub(crate) fn save(&self, server: &DetachedServer) -> Result<()> {
        let file = fs::File::create_new(&self.0).with_context(|| self.name())?;
        serde_json::to_writer(file, server).with_context(|| self.name())
    }

    /// Removes the record, if there is one.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| self.name()),
        }
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_recorded_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(folder.path());
        assert_eq!(state.load().unwrap(), None);
        let server = DetachedServer { directory: "somewhere".into(), port: 5_433 };
        state.save(&server).unwrap();
        assert_eq!(state.load().unwrap().as_ref(), Some(&server));
        assert!(state.save(&server).is_err(), "there is one server");
        state.remove().unwrap();
        state.remove().unwrap();
        assert_eq!(state.load().unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(folder.path());
        fs::write(&state.0, "{").unwrap();
        let error = state.load().unwrap_err();
        assert!(error.to_string().contains("xtask-pg.json is damaged"), "{error}");
    }
}
