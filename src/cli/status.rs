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

/// Lines that a person is shown.
const LINES_SHOWN: usize = 20;

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
    let providers = entries(answer, "providers");
    if !providers.is_empty() {
        let rows: Vec<Vec<String>> = providers.iter().map(provider_row).collect();
        let _ = writeln!(out, "\n{}", style.paint(Ink::Strong, "Providers"));
        let head = ["stage", "name", "health", "requests", "failures", "first p50/p95/p99 ms", "used", "converted"];
        let _ = writeln!(out, "{}", table(&head, &rows));
    }
    let lines = entries(answer, "lines");
    if !lines.is_empty() {
        let mut worst: Vec<&Value> = lines.iter().collect();
        // What has not been judged yet comes last.
        let score = |line: &Value| line["mos"].as_f64().filter(|mos| *mos > 0.0).unwrap_or(f64::MAX);
        worst.sort_by(|a, b| score(a).total_cmp(&score(b)));
        let rows: Vec<Vec<String>> = worst.iter().take(LINES_SHOWN).map(|line| line_row(line)).collect();
        let _ = writeln!(out, "\n{}", style.paint(Ink::Strong, "Calls, the worst sound first"));
        let head = ["call", "peer", "agent", "up for", "codec", "SRTP", "MOS", "loss", "jitter", "round trip"];
        let _ = writeln!(out, "{}", table(&head, &rows));
        if lines.len() > LINES_SHOWN {
            let _ = writeln!(out, "and {} more: --json shows them", lines.len() - LINES_SHOWN);
        }
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

fn provider_row(entry: &Value) -> Vec<String> {
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    let failures: Vec<String> = entry["failures"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(kind, n)| format!("{} {n}", kind.replace('_', " ")))
        .collect();
    let first = |key: &str| match entry["first_ms"][key].as_f64() {
        Some(ms) if ms > 0.0 => format!("{ms:.0}"),
        _ => "–".to_owned(),
    };
    let mut used = Vec::new();
    let tokens = &entry["tokens"];
    if count(&tokens["input"]) + count(&tokens["output"]) > 0 {
        let (input, cached, output) = (count(&tokens["input"]), count(&tokens["cached"]), count(&tokens["output"]));
        used.push(format!("{input} tokens in ({cached} cached), {output} out"));
    }
    if count(&entry["characters"]) > 0 {
        used.push(format!("{} characters", entry["characters"]));
    }
    if let Some(audio) = entry["audio_s"].as_f64().filter(|audio| *audio > 0.0) {
        used.push(format!("{audio:.0} s of audio"));
    }
    let (passed, resampled) = (count(&entry["frames_passed"]), count(&entry["frames_resampled"]));
    let converted =
        if passed + resampled == 0 { "–".to_owned() } else { format!("{resampled} of {}", passed + resampled) };
    let or_dash = |text: String| if text.is_empty() { "–".to_owned() } else { text };
    vec![
        text(&entry["stage"]).replace('_', " "),
        text(&entry["name"]),
        text(&entry["health"]),
        text(&entry["requests"]),
        or_dash(failures.join(", ")),
        format!("{}/{}/{}", first("p50"), first("p95"), first("p99")),
        or_dash(used.join(", ")),
        converted,
    ]
}

fn line_row(entry: &Value) -> Vec<String> {
    let number = |key: &str| entry[key].as_f64().unwrap_or_default();
    // Nothing is known of the way there and back before the peer has answered a report.
    let measured = |key: &str| match number(key) {
        0.0 => "–".to_owned(),
        ms => format!("{ms:.0} ms"),
    };
    let name = match entry["leg"].as_str() {
        Some("far") => format!("{} (far side)", text(&entry["call"])),
        _ => text(&entry["call"]),
    };
    let score = number("mos");
    vec![
        name,
        text(&entry["peer"]),
        text(&entry["agent"]),
        format!("{} s", entry["up_for_s"]),
        text(&entry["codec"]),
        entry["srtp"].as_str().unwrap_or("in clear").to_owned(),
        if score > 0.0 { format!("{score:.1}") } else { "–".to_owned() },
        format!("{:.1} %", number("loss") * 100.0),
        format!("{:.0} ms", number("jitter_ms")),
        measured("round_trip_ms"),
    ]
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
            "lines": [
                { "call": "call-000001", "leg": "near", "peer": "carrier", "agent": "clinic", "up_for_s": 12, "codec": "PCMU",
                  "srtp": null, "mos": 4.3, "loss": 0.0, "jitter_ms": 1.2, "round_trip_ms": 0.0 },
                { "call": "call-000002", "leg": "far", "peer": "front", "agent": "clinic", "up_for_s": 3, "codec": "opus",
                  "srtp": "AEAD_AES_256_GCM", "mos": 3.1, "loss": 0.042, "jitter_ms": 18.0, "round_trip_ms": 61.0 },
                { "call": "call-000003", "leg": "near", "peer": "front", "agent": "clinic", "up_for_s": 0, "codec": null,
                  "srtp": null, "mos": 0.0, "loss": 0.0, "jitter_ms": 0.0, "round_trip_ms": 0.0 },
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
    fn calls_are_shown_with_codec_encryption_and_quality_the_worst_first() {
        let text = shown(&answer(), Style::plain());
        let row = |name: &str| {
            let line = text.lines().position(|line| line.trim_start().starts_with(name)).unwrap();
            (line, text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let (worst, good, fresh) = (row("call-000002"), row("call-000001"), row("call-000003"));
        assert!(worst.0 < good.0 && good.0 < fresh.0, "{text}");
        assert!(worst.1.ends_with("opus AEAD_AES_256_GCM 3.1 4.2 % 18 ms 61 ms"), "{}", worst.1);
        assert!(worst.1.contains("(far side)"), "{}", worst.1);
        assert!(good.1.ends_with("PCMU in clear 4.3 0.0 % 1 ms –"), "{}", good.1);
        assert!(fresh.1.contains("– in clear – 0.0 %"), "{}", fresh.1);
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

    #[test]
    fn a_provider_is_shown_with_its_failures_latencies_and_costs() {
        let row = provider_row(&json!({
            "stage": "language_model", "name": "brain", "health": "resting", "requests": 12,
            "failures": { "rate_limited": 2, "timeout": 1 },
            "first_ms": { "p50": 210.4, "p95": 480.0, "p99": 0.0 },
            "tokens": { "input": 900, "cached": 600, "output": 80 },
            "characters": 0, "audio_s": 0.0, "frames_passed": 30, "frames_resampled": 10,
        }));
        let expected = "language model|brain|resting|12|rate limited 2, timeout 1|210/480/–|900 tokens in (600 cached), \
                        80 out|10 of 40";
        assert_eq!(row.join("|"), expected);
    }
}
