//! `[recording]`: calls kept as sound.

use super::reader::Table;
use std::path::{Path, PathBuf};

/// `[recording]`. Without the section nothing is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    /// Where the files go, one for each call.
    pub directory: PathBuf,
}

impl Recording {
    pub(super) fn read(table: Table<'_, '_>, base: &Path) -> Option<Self> {
        let directory = table.required("directory", "\"recordings\"").map(|directory| base.join(directory.value));
        table.finish();
        Some(Self { directory: directory? })
    }
}
