//! How a vendor's own client is run against a fake. `make sdk` installs the clients, `make test-sdk` runs the checks and
//! says which version of which client understood which fake.

use std::{path::Path, process::Command};

use crate::fakes::FakeServer;

/// Runs `tests/sdk/SCRIPT` with a client of this package against the fake and returns what the script printed.
///
/// # Panics
/// The client does not understand the fake, or broke a rule of it.
#[track_caller]
pub fn understands(package: &str, fake: &str, script: &str, server: &FakeServer, key: &str) -> String {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = project.join("target/sdk-venv/bin/python");
    assert!(python.exists(), "no SDKs here; run `make sdk` once");
    let directory = tempfile::tempdir().expect("a directory");
    let authority = directory.path().join("authority.pem");
    std::fs::write(&authority, server.ca_pem()).expect("a file");
    let scripts = project.join("tests/sdk");
    let run = Command::new(python)
        .arg(scripts.join("run.py"))
        .args([package, fake])
        .arg(scripts.join(script))
        .args([&server.http_url(""), key])
        .env("SSL_CERT_FILE", authority)
        .output()
        .expect("a script that starts");
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{script}: {out}{err}");
    assert_eq!(server.complaints(), Vec::<String>::new(), "{script}");
    let (said, verdict) = out.trim_end().rsplit_once('\n').unwrap_or_else(|| ("", out.trim_end()));
    assert!(verdict.starts_with("sdk: "), "{script}: {out}");
    println!("{verdict}");
    said.to_owned()
}
