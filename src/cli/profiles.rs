//! `offhook profiles`: what is known about makes of PBX and carriers.

use super::fail;
use super::terminal::table;
use crate::call::{DigitsBy, NumberFormat, TransferBy};
use crate::config::{ReferTarget, SipProfile};
use crate::sdp::{CodecPreference, Keying, SrtpPolicy};
use crate::sip::{Refresher, ReliableProvisional};
use clap::Args;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// List the profiles of PBXs and carriers, or show one with everything it inherits.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  offhook profiles\n  offhook profiles twilio --json\n  offhook profiles freepbx --source   the file with the reason of every line"
)]
pub(super) struct Profiles {
    /// A profile, or the path of a .toml file of your own.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
    /// The file itself, with its comments.
    #[arg(long, requires = "name")]
    source: bool,
}

pub(super) fn run(profiles: &Profiles) -> ExitCode {
    let Some(name) = &profiles.name else {
        list(profiles.json);
        return ExitCode::SUCCESS;
    };
    if let (true, Some(text)) = (profiles.source, SipProfile::built_in_text(name)) {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    match SipProfile::load(name, Path::new("")) {
        Ok(profile) => {
            let resolved = to_json(&profile);
            if profiles.json {
                println!("{resolved}");
            } else {
                print!("{}", shown(&resolved));
            }
            ExitCode::SUCCESS
        }
        Err(Some(errors)) => fail(&errors.to_string()),
        Err(None) => fail(&format!("there is no profile `{name}`: {}", SipProfile::unknown_name_fix(name))),
    }
}

/// The first sentence of a built-in profile's file: what it is for.
fn headline(name: &str) -> String {
    let text = SipProfile::built_in_text(name).unwrap_or_default();
    let comment: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# ")).collect();
    let comment = comment.join(" ");
    comment.split_once(". ").map_or(comment.as_str(), |(first, _)| first).trim_end_matches('.').to_owned()
}

fn list(as_json: bool) {
    if as_json {
        let all: Vec<Value> =
            SipProfile::built_in_names().filter_map(SipProfile::built_in).map(|profile| to_json(&profile)).collect();
        println!("{}", Value::Array(all));
        return;
    }
    let rows: Vec<Vec<String>> =
        SipProfile::built_in_names().map(|name| vec![name.to_owned(), headline(name)]).collect();
    println!("{}", table(&["profile", "for"], &rows));
}

/// A profile under the keys of its file.
fn to_json(profile: &SipProfile) -> Value {
    let seconds = |duration: std::time::Duration| format!("{}s", duration.as_secs());
    let session_timer = profile.session_timer.map_or_else(
        || json!("off"),
        |timer| {
            let refresher = match timer.refresher {
                Refresher::Either => "either",
                Refresher::Ours => "ours",
                Refresher::Theirs => "theirs",
            };
            json!({ "expires": seconds(timer.expires), "min_se": seconds(timer.min_se), "refresher": refresher })
        },
    );
    json!({
        "name": profile.name,
        "auth_user": if profile.auth_user_required { "required" } else { "optional" },
        "register": profile.takes_registrations,
        "register_expires": seconds(profile.register_expires),
        "transport": profile.transport.map_or_else(|| "none".to_owned(), |t| t.via_name().to_ascii_lowercase()),
        "port": profile.port,
        "codecs": profile.codecs.iter().map(|codec| codec.encoding_name()).collect::<Vec<_>>(),
        "codec_preference": match profile.codec_preference {
            CodecPreference::Ours => "ours",
            CodecPreference::Theirs => "theirs",
        },
        "srtp": match profile.srtp {
            SrtpPolicy::Off => "off",
            SrtpPolicy::Preferred => "preferred",
            SrtpPolicy::Required => "required",
        },
        "keying": profile.keying.iter().map(|keying| match keying {
            Keying::Dtls => "dtls",
            Keying::Sdes => "sdes",
        }).collect::<Vec<_>>(),
        "danger_sdes_without_tls": profile.danger_sdes_without_tls,
        "session_timer": session_timer,
        "reliable_provisional": match profile.reliable_provisional {
            ReliableProvisional::Off => "off",
            ReliableProvisional::Supported => "supported",
            ReliableProvisional::Required => "required",
        },
        "refer_target": match profile.refer_target { ReferTarget::Sip => "sip", ReferTarget::Tel => "tel" },
        "refer_diversion": profile.refer_diversion,
        "transfer": match profile.transfer {
            TransferBy::Bridge => "bridge",
            TransferBy::Refer => "refer",
            TransferBy::ReferThenBridge => "refer-then-bridge",
        },
        "accept_refer": profile.accept_refer,
        "accept_replaces": profile.accept_replaces,
        "context_header": profile.context_header.as_deref().unwrap_or("none"),
        "dtmf": match profile.dtmf {
            DigitsBy::Inband => "inband",
            DigitsBy::Info => "info",
            DigitsBy::Rfc4733 => "rfc4733",
        },
        "keep_alive": profile.keep_alive.map_or_else(|| "none".to_owned(), seconds),
        "user_agent": profile.user_agent.as_deref().unwrap_or("none"),
        "number_format": match profile.number_format {
            NumberFormat::AsDialled => "as-dialled",
            NumberFormat::Digits => "digits",
            NumberFormat::Plus => "plus",
        },
        "assert_identity": profile.assert_identity,
        "header_variables": profile.header_variables,
        "source_networks": profile.source_networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "gateway_template": profile.gateway_template.as_deref().unwrap_or("none"),
        "echo_number": profile.echo_number.as_deref().unwrap_or("none"),
        "notes": profile.notes,
    })
}

fn shown(profile: &Value) -> String {
    let fields = profile.as_object().into_iter().flatten();
    fields.filter(|(_, value)| !value.is_null()).map(|(key, value)| format!("{key} = {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_says_in_a_line_what_it_is_for() {
        for name in SipProfile::built_in_names() {
            let line = headline(name);
            assert!(line.len() > 10 && line.len() < 100 && !line.ends_with('.'), "{name}: {line}");
        }
    }

    #[test]
    fn what_is_shown_of_a_profile_reads_back_as_its_overrides() {
        for name in SipProfile::built_in_names() {
            let profile = SipProfile::built_in(name).unwrap();
            let mut resolved = to_json(&profile);
            resolved.as_object_mut().unwrap().retain(|key, value| key != "name" && !value.is_null());
            let table: toml::Table = serde_json::from_value(resolved).unwrap();
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("p.toml"), table.to_string()).unwrap();
            let read = SipProfile::load("p.toml", folder.path()).unwrap_or_else(|e| panic!("{name}: {}", e.unwrap()));
            assert_eq!(to_json(&SipProfile { name: name.to_owned(), ..read }), to_json(&profile));
        }
    }
}
