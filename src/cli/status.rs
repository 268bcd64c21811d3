//! `offhook status`: how the running server is.

use super::terminal::{Ink, Style, table};
use super::{control, fail};
use crate::config::Config;
use clap::Args;
use serde_json::Value;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show registrations, trunks and calls of the running server.
#[derive(Args)]
#[command(
    after_help = "Example:\n  offhook status -c offhook.toml\n\nExit code 0: everything is registered and reachable; 1: something is not, or no server runs."
)]
pub(super) struct Status {
    /// The configuration the server was started with.
    #[arg(short, long, value_name = "FILE", default_value = "offhook.toml")]
    config: PathBuf,
    /// The server's answer as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(status: Status) -> ExitCode {
    // The file may have become wrong since the server read it; then the socket is where it is without a setting.
    let configured = Config::load(&status.config).ok().and_then(|config| config.server.control_socket);
    if configured.is_none() && !status.config.exists() {
        return fail(&format!("{} does not exist: give the server's configuration with -c", status.config.display()));
    }
    let places = control::places(&status.config, configured.as_deref());
    match control::ask(&places, "status").await {
        Ok(answer) => {
            if status.json {
                println!("{answer}");
            } else {
                print!("{}", shown(&answer, Style::stdout()));
            }
            if is_well(&answer) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            fail("the server runs as another user: ask as that user, or as root")
        }
        Err(error) => {
            let file = status.config.display();
            let why = match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => String::new(),
                _ => format!(" ({error})"),
            };
            fail(&format!("no server runs with {file}{why}: start one with `offhook serve -c {file}`"))
        }
    }
}

fn entries<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map_or(&[], Vec::as_slice)
}

fn is_well(answer: &Value) -> bool {
    entries(answer, "registrations").iter().all(|registration| registration["state"] == "registered")
        && entries(answer, "trunks").iter().all(|trunk| trunk["options"].get("reason").is_none())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    }
}

fn shown(answer: &Value, style: Style) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let draining = if answer["draining"] == true { ", taking no more calls" } else { "" };
    let _ = writeln!(
        out,
        "offhook up for {} s on {}: {} calls{draining}",
        answer["uptime_s"],
        text(&answer["listening"]),
        answer["calls"]
    );
    if let Some(address) = answer["public_address"].as_str() {
        let _ = writeln!(out, "public address by STUN: {address}");
    }
    let registrations = entries(answer, "registrations");
    if !registrations.is_empty() {
        let rows: Vec<Vec<String>> = registrations.iter().map(registration_row).collect();
        let _ = writeln!(out, "\n{}", style.paint(Ink::Strong, "Registrations"));
        let _ = writeln!(out, "{}", table(&["name", "address", "state", "detail"], &rows));
    }
    let trunks = entries(answer, "trunks");
    if !trunks.is_empty() {
        let rows: Vec<Vec<String>> = trunks.iter().map(trunk_row).collect();
        let _ = writeln!(out, "\n{}", style.paint(Ink::Strong, "Trunks"));
        let _ = writeln!(out, "{}", table(&["name", "calls", "gateways", "OPTIONS"], &rows));
    }
    let counters: Vec<String> = answer["counters"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, count)| **count != 0)
        .map(|(name, count)| format!("{} {count}", name.replace('_', " ")))
        .collect();
    if !counters.is_empty() {
        let _ = writeln!(out, "\nNot served: {}", counters.join(", "));
    }
    out
}

fn registration_row(entry: &Value) -> Vec<String> {
    let detail = match entry["state"].as_str() {
        Some("registered") => {
            format!("reachable at {}, expires in {} s", text(&entry["contact"]), entry["expires_in_s"])
        }
        Some("failed") => match entry["retry_in_s"].as_u64() {
            Some(seconds) => format!("{}; tries again in {seconds} s", text(&entry["reason"])),
            None => text(&entry["reason"]),
        },
        _ => String::new(),
    };
    vec![text(&entry["name"]), text(&entry["address"]), text(&entry["state"]), detail]
}

fn trunk_row(entry: &Value) -> Vec<String> {
    let calls = match entry["max_calls"].as_u64() {
        Some(most) => format!("{} of {most}", text(&entry["calls"])),
        None => text(&entry["calls"]),
    };
    let options = match (&entry["options"]["status"], entry["options"]["reason"].as_str()) {
        (Value::Number(status), _) => {
            format!(
                "{status} in {:.0} ms, {} s ago",
                entry["options"]["took_ms"].as_f64().unwrap_or(0.0),
                entry["options"]["ago_s"]
            )
        }
        (_, Some(reason)) => reason.to_owned(),
        _ => "not asked".to_owned(),
    };
    let gateways: Vec<String> = entries(entry, "gateways").iter().map(text).collect();
    vec![text(&entry["name"]), calls, gateways.join(", "), options]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer() -> Value {
        json!({
            "uptime_s": 61, "draining": false, "calls": 2, "listening": "0.0.0.0:5060",
            "registrations": [
                { "name": "front", "address": "sip:1001@pbx.example", "state": "registered", "expires_in_s": 300,
                  "contact": "192.0.2.5:5060" },
                { "name": "back", "address": "sip:1002@pbx.example", "state": "failed", "code": 403,
                  "reason": "403 Forbidden", "retry_in_s": 30 },
            ],
            "trunks": [
                { "name": "carrier", "gateways": ["sip.example"], "options": { "status": 200, "took_ms": 12.4, "ago_s": 3 },
                  "calls": 1, "max_calls": 10 },
            ],
            "counters": { "unheard": 7, "banned": 0, "over_peer_limit": 1 },
        })
    }

    #[test]
    fn a_person_sees_state_reason_and_next_attempt() {
        let text = shown(&answer(), Style::plain());
        for part in [
            "up for 61 s",
            "2 calls",
            "reachable at 192.0.2.5:5060, expires in 300 s",
            "403 Forbidden; tries again in 30 s",
            "1 of 10",
            "200 in 12 ms, 3 s ago",
            "Not served: unheard 7, over peer limit 1",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn all_is_well_only_when_everything_is_registered_and_reachable() {
        let mut all = answer();
        assert!(!is_well(&all));
        all["registrations"][1]["state"] = json!("registered");
        assert!(is_well(&all));
        all["trunks"][0]["options"] = json!({ "reason": "no answer" });
        assert!(!is_well(&all));
        all["trunks"][0]["options"] = Value::Null;
        assert!(is_well(&all), "a trunk nobody asks is not unreachable");
    }
}
