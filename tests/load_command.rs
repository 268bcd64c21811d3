//! `offhook load` against our own server and against a far side that refuses: figures, exit codes, wrong command lines.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

fn offhook(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_offhook")).args(arguments).env("NO_COLOR", "1").output().expect("offhook starts")
}

/// `offhook load` of `uri` with `options` as they are typed.
fn load(uri: &str, options: &str) -> Output {
    offhook(&["load", "--to", uri].into_iter().chain(options.split(' ')).collect::<Vec<_>>())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `offhook serve` with the echo for calls from this machine, until dropped.
struct Echo {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Echo {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("offhook.toml");
        let config = "[server]\nsip_listen = \"127.0.0.1:0\"\n[media]\nbind = \"127.0.0.1\"\n\
                      [[trunk]]\nname = \"here\"\nhosts = [\"127.0.0.1\"]\nagent = \"echo\"\n";
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_offhook"))
            .args(["serve", "-c"])
            .arg(&file)
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("offhook starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // What the system gave for port 0 is in the log: `listening address=127.0.0.1:43211 …`.
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("listening address=")?;
            Some(rest.split(' ').next()?.to_owned())
        });
        let address = address.expect("the server listens");
        // Its log goes on, and nobody may be kept waiting by a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, _folder: folder }
    }

    fn uri(&self) -> String {
        format!("sip:echo@{}", self.address)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn calls_to_an_echo_complete_and_every_packet_is_timed() {
    let echo = Echo::start();
    let output = load(&echo.uri(), "--calls 10 --rate 20 --seconds 3 --json --max-loss 5");
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(output.status.code(), Some(0), "{lines:?}\n{}", text(&output.stderr));
    assert_eq!(lines.iter().filter(|line| line["event"] == "second").count(), 3);
    let summary = lines.last().unwrap();
    assert_eq!((&summary["event"], &summary["ok"]), (&"summary".into(), &true.into()));
    assert_eq!((&summary["placed"], &summary["completed"], &summary["failed"]), (&10.into(), &10.into(), &0.into()));
    let number = |name: &str| summary[name].as_u64().unwrap();
    assert!(number("sent") > 900 && number("received") > 800, "{summary}");
    assert!(number("marks_back") > 800, "{summary}");
    assert!(summary["round_trip_ms"]["p50"].as_f64().unwrap() < 200.0, "{summary}");
    assert!(summary["setup_ms"]["p99"].as_f64().is_some() && summary["pacing_ms"]["p99"].as_f64().is_some());
}

#[test]
fn calls_of_a_given_length_are_replaced_by_others_and_tones_are_timed_too() {
    let echo = Echo::start();
    let output = load(&echo.uri(), "--calls 4 --rate 50 --seconds 5 --call-seconds 1 --send tones");
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}\n{}", text(&output.stderr));
    assert!(out.starts_with("Calling sip:echo@127.0.0.1:") && out.contains("(this machine): up to 4 calls"), "{out}");
    let placed: u64 = out.split(" placed").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((12..=24).contains(&placed), "{out}");
    assert!(out.contains("echo round trip") && out.contains("Round trips"), "{out}");
}

#[test]
fn limits_that_do_not_hold_fail_the_run_and_say_which() {
    let echo = Echo::start();
    let output = load(&echo.uri(), "--calls 2 --seconds 2 --max-p99-ms 0.001");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("more than the 0.001 ms of --max-p99-ms"), "{}", text(&output.stdout));
}

/// A far side that refuses every INVITE with `status`, until it has heard an ACK for each of `calls`.
fn refuser(status: &'static str, calls: usize) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let address = socket.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut acknowledged = 0;
        while acknowledged < calls {
            let (length, from) = socket.recv_from(&mut buffer).expect("the load calls");
            let request = text(&buffer[..length]);
            if request.starts_with("ACK ") {
                acknowledged += 1;
                continue;
            }
            let head: String = request
                .lines()
                .filter(|line| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)))
                .map(|line| format!("{line}\r\n"))
                .collect();
            let response = format!("SIP/2.0 {status}\r\n{head}Content-Length: 0\r\n\r\n");
            socket.send_to(response.as_bytes(), from).unwrap();
        }
    });
    (address, thread)
}

#[test]
fn refusals_are_counted_by_code_and_fail_the_run() {
    let (address, thread) = refuser("486 Busy Here", 3);
    let output = load(&format!("sip:x@{address}"), "--calls 3 --rate 3 --seconds 1 --json");
    assert_eq!(output.status.code(), Some(1));
    let last = text(&output.stdout).lines().last().unwrap().to_owned();
    let summary: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(summary["failures"]["486 Busy Here"], 3, "{summary}");
    assert_eq!(summary["reasons"], serde_json::json!(["no call was answered", "3 of 3 calls failed"]));
    thread.join().unwrap();
}

#[test]
fn a_public_address_needs_consent() {
    // 192.0.2.0/24 is for documentation; nothing is sent.
    let output = load("sip:x@192.0.2.1", "--calls 500");
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("a public address") && error.contains("--danger-load-public-host"), "{error}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn wrong_command_lines_are_refused_with_the_fix() {
    for (arguments, code, part) in [
        (&["--to", "sip:x@127.0.0.1", "--calls", "0"][..], 2, "--calls"),
        (&["--to", "sip:x@127.0.0.1", "--rate", "0"], 2, "above 0"),
        (&["--to", "sip:x@127.0.0.1", "--user", "a"], 2, "--password-env"),
        (&["--to", "sip:x@127.0.0.1", "--bind", "here"], 2, "write 192.0.2.1"),
        (&["--calls", "1"], 2, "--to"),
        (&["--to", "sips:x@127.0.0.1"], 1, "write sip:"),
        (&["--to", "sip:x@127.0.0.1", "--codec", "opus", "--send", "marks"], 1, "write --send tones"),
        (&["--to", "sip:x@127.0.0.1", "--speech", "missing.wav"], 1, "missing.wav"),
        (&["--to", "sip:x@127.0.0.1", "--user", "a", "--password-env", "OFFHOOK_TEST_UNSET"], 1, "is not set"),
        (&["--to", "sip:x@127.0.0.1", "--bind", "192.0.2.77"], 1, "cannot call from here"),
    ] {
        let output = offhook(&[&["load"][..], arguments].concat());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}
