//! The demo holds its call on the offline engines alone: booked, interrupted once, corrected once, measured stage by stage,
//! and read back from the service.

use serde_json::Value;
use std::process::Command;

fn demo(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_offhook")).arg("demo").args(arguments).output().expect("the demo starts")
}

#[test]
fn the_demo_books_the_appointment_and_its_summary_says_so() {
    let output = demo(&["--once", "--json", "--listen", "127.0.0.1:0"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let events: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("each line is JSON")).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    let summary = events.last().expect("a summary");
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["completed"], true);
    assert_eq!(summary["booking"]["time"], "16:00", "the correction stands");
    assert!(summary["turns"].as_u64().is_some_and(|n| n >= 8), "{summary}");
    assert!(summary["latency_ms"]["p95"].as_f64().is_some_and(|ms| ms > 0.0), "{summary}");
    assert_eq!(summary["barge_in_ms"].as_array().map(Vec::len), Some(1), "one interruption: {summary}");
    let corrected = events.iter().any(|e| e["event"] == "slot_filled" && e["corrected"] == true);
    assert!(corrected, "one correction");
    let cut = events.iter().any(|e| e["event"] == "agent_said" && e["complete"] == false);
    assert!(cut, "the agent was cut off");
    // The ledger: every turn the caller took was followed from their last sound to the first packet of the answer.
    let mut turns = 0;
    for entry in events.iter().filter(|event| event["event"] == "turn_latency") {
        let at =
            |stage: &str| entry["ms_after_caller_silent"][stage].as_f64().unwrap_or_else(|| panic!("{stage}: {entry}"));
        let stages = ["transcript", "end_of_turn", "first_token", "first_audio", "first_packet"].map(at);
        assert!(stages.is_sorted() && stages[0] > 0.0, "{entry}");
        turns += 1;
    }
    assert_eq!(summary["turns"].as_u64(), Some(turns), "{summary}");
    let ended = events.iter().find(|event| event["event"] == "call_ended").expect("an end");
    assert_eq!(ended["completed"], true, "{ended}");
}

#[test]
fn a_demo_whose_caller_books_nothing_fails() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script.toml");
    let goodbye = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/caller/goodbye.wav");
    let text = format!("[booking]\nname = \"Daniel Brooks\"\n[[line]]\nfile = {goodbye:?}\nwords = \"Goodbye.\"\n");
    std::fs::write(&script, text).unwrap();
    let caller = script.to_string_lossy();
    let output = demo(&["--once", "--json", "--listen", "127.0.0.1:0", "--caller", &caller]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let summary: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).expect("a summary");
    assert_eq!(summary["completed"], false);
}
