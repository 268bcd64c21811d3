//! What was tried with which peer, and how it went: the rows of the table in `README.md`.
//!
//! Each case leaves a file in `target/interop`; `table.sh` makes the table of them.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{fs, path::Path};

/// One cell of a table. It says "passed" when it is dropped, "FAILED" when it is dropped by a panic.
pub struct Case {
    peer: &'static str,
    feature: &'static str,
    transport: &'static str,
}

impl Case {
    /// Begins a case: `peer` as `peers.sh versions` names it, `transport` one of UDP, TCP and TLS.
    pub fn begin(peer: &'static str, feature: &'static str, transport: &'static str) -> Self {
        Self { peer, feature, transport }
    }

    /// Begins a case of the table of audio: `codec` as SDP writes it, `protection` empty, `sdes` or `dtls`.
    pub fn audio(peer: &'static str, codec: &'static str, protection: &'static str) -> Self {
        let column = match protection {
            "sdes" => "SDES",
            "dtls" => "DTLS",
            _ => "RTP",
        };
        Self { peer, feature: codec, transport: column }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let result = if std::thread::panicking() { "FAILED" } else { "passed" };
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop");
        let name: String = [self.peer, self.feature, self.transport]
            .join(" ")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        let row = [self.peer, self.feature, self.transport, result].join("\t") + "\n";
        // The result of the test is not at the mercy of the table.
        let _ = fs::create_dir_all(&directory).and_then(|()| fs::write(directory.join(name), row));
    }
}
