//! The keys of a profile file, and of an `overrides` table.

use super::{EXPIRES_MAX, EXPIRES_MIN, Questions, ReferTarget, SipProfile};
use crate::call::{DigitsBy, NumberFormat, TransferBy};
use crate::config::peers::address::{PeerAddress, TRANSPORTS, header_name, header_names, network};
use crate::config::reader::Table;
use crate::sdp::{Codec, CodecPreference, Keying, SrtpPolicy};
use crate::sip::{Refresher, ReliableProvisional, SessionTimer};
use std::time::Duration;

/// RFC 4028 §4: no session interval is shorter.
const SESSION_MIN: Duration = Duration::from_secs(90);
/// Longest session interval: a call that is dead for a day is no timer's business.
const SESSION_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Keep-alive: a NAT forgets UDP within 30 s at worst (RFC 4787 §4.3 wants 2 min), and more often than 10 s is a load.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(10);
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(600);
/// What a profile without parent must say itself.
const COMPLETE: [&str; 10] = [
    "auth_user",
    "register",
    "register_expires",
    "codecs",
    "srtp",
    "session_timer",
    "reliable_provisional",
    "refer_target",
    "transfer",
    "dtmf",
];

/// Whether a profile without parent says all it must; the first gap is reported.
pub(super) fn check_complete(table: &Table<'_, '_>) -> bool {
    let gap = COMPLETE.iter().find(|key| !table.has(key));
    if let Some(key) = gap {
        let message = format!("the profile inherits from nothing and has no `{key}`");
        table.error(0..0, message, "add `inherits = \"generic\"` as the first line");
    }
    gap.is_none()
}

/// `base` with what the table says instead.
pub(super) fn overlaid(base: SipProfile, table: &Table<'_, '_>) -> SipProfile {
    let choice =
        |key, no, yes, before| table.choice(key, &[(no, false), (yes, true)]).map_or(before, |found| found.value);
    let encryption = Encryption::read(table, &base);
    SipProfile {
        auth_user_required: choice("auth_user", "optional", "required", base.auth_user_required),
        takes_registrations: table.boolean("register").unwrap_or(base.takes_registrations),
        register_expires: table
            .duration("register_expires", EXPIRES_MIN..=EXPIRES_MAX)
            .unwrap_or(base.register_expires),
        transport: none_or(table, "transport", base.transport, || {
            table.choice("transport", &TRANSPORTS).map(|transport| transport.value)
        }),
        port: table.integer("port", 1..=65_535).and_then(|port| u16::try_from(port).ok()).or(base.port),
        codecs: codecs(table).unwrap_or(base.codecs),
        codec_preference: table
            .choice("codec_preference", &[("ours", CodecPreference::Ours), ("theirs", CodecPreference::Theirs)])
            .map_or(base.codec_preference, |found| found.value),
        srtp: encryption.srtp,
        keying: encryption.keying,
        danger_sdes_without_tls: encryption.danger_sdes_without_tls,
        session_timer: session_timer(table, base.session_timer),
        reliable_provisional: table
            .choice(
                "reliable_provisional",
                &[
                    ("off", ReliableProvisional::Off),
                    ("required", ReliableProvisional::Required),
                    ("supported", ReliableProvisional::Supported),
                ],
            )
            .map_or(base.reliable_provisional, |found| found.value),
        refer_target: table
            .choice("refer_target", &[("sip", ReferTarget::Sip), ("tel", ReferTarget::Tel)])
            .map_or(base.refer_target, |found| found.value),
        refer_diversion: table.boolean("refer_diversion").unwrap_or(base.refer_diversion),
        transfer: table
            .choice(
                "transfer",
                &[
                    ("bridge", TransferBy::Bridge),
                    ("refer", TransferBy::Refer),
                    ("refer-then-bridge", TransferBy::ReferThenBridge),
                ],
            )
            .map_or(base.transfer, |found| found.value),
        accept_refer: table.boolean("accept_refer").unwrap_or(base.accept_refer),
        accept_replaces: table.boolean("accept_replaces").unwrap_or(base.accept_replaces),
        context_header: none_or(table, "context_header", base.context_header, || {
            let wanted = "a header name of letters, digits and hyphens, or \"none\"";
            table.read("context_header", wanted, header_name).map(|name| name.value)
        }),
        dtmf: table
            .choice("dtmf", &[("inband", DigitsBy::Inband), ("info", DigitsBy::Info), ("rfc4733", DigitsBy::Rfc4733)])
            .map_or(base.dtmf, |found| found.value),
        keep_alive: none_or(table, "keep_alive", base.keep_alive, || {
            table.duration("keep_alive", KEEP_ALIVE_MIN..=KEEP_ALIVE_MAX)
        }),
        user_agent: none_or(table, "user_agent", base.user_agent, || {
            let wanted = "printable ASCII of at most 64 characters, or \"none\"";
            table.read("user_agent", wanted, printable).map(|text| text.value)
        }),
        number_format: table
            .choice(
                "number_format",
                &[
                    ("as-dialled", NumberFormat::AsDialled),
                    ("digits", NumberFormat::Digits),
                    ("plus", NumberFormat::Plus),
                ],
            )
            .map_or(base.number_format, |found| found.value),
        assert_identity: table.boolean("assert_identity").unwrap_or(base.assert_identity),
        header_variables: header_names(table, "header_variables").unwrap_or(base.header_variables),
        source_networks: table.texts("source_networks").map_or(base.source_networks, |written| {
            written.into_iter().filter_map(|text| network(table, text, false)).collect()
        }),
        gateway_template: none_or(table, "gateway_template", base.gateway_template, || {
            let wanted = "a host with {host} in it, such as \"{host}.sip.example.com;transport=tls\", or \"none\"";
            let good =
                |text: &str| text.contains("{host}") && PeerAddress::parse(&text.replace("{host}", "x")).is_some();
            table.read("gateway_template", wanted, |text| good(text).then(|| text.to_owned())).map(|text| text.value)
        }),
        echo_number: none_or(table, "echo_number", base.echo_number, || {
            let wanted = "a number such as \"*43\", or \"none\"";
            let good =
                |text: &str| text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"*#+".contains(&b));
            table.read("echo_number", wanted, |text| good(text).then(|| text.to_owned())).map(|text| text.value)
        }),
        questions: questions(table, base.questions),
        notes: table.texts("notes").map_or(base.notes, |notes| notes.into_iter().map(|note| note.value).collect()),
        name: base.name,
    }
}

/// "none" switches off what a parent has switched on.
fn none_or<T>(
    table: &Table<'_, '_>,
    key: &'static str,
    before: Option<T>,
    read: impl FnOnce() -> Option<T>,
) -> Option<T> {
    if table.holds(key, "none") { None } else { read().or(before) }
}

/// What a profile says about encrypted media.
struct Encryption {
    srtp: SrtpPolicy,
    keying: Vec<Keying>,
    danger_sdes_without_tls: bool,
}

impl Encryption {
    fn read(table: &Table<'_, '_>, base: &SipProfile) -> Self {
        let read = Self {
            srtp: srtp(table).unwrap_or(base.srtp),
            keying: keying(table).unwrap_or_else(|| base.keying.clone()),
            danger_sdes_without_tls: table.boolean("danger_sdes_without_tls").unwrap_or(base.danger_sdes_without_tls),
        };
        let uses_sdes = read.srtp != SrtpPolicy::Off && read.keying.contains(&Keying::Sdes);
        if table.has("danger_sdes_without_tls") && read.danger_sdes_without_tls && !uses_sdes {
            table.error(
                table.key_span("danger_sdes_without_tls"),
                "`danger_sdes_without_tls` has no effect: no keys are agreed by SDES",
                "remove it, or set `srtp = \"preferred\"` or \"required\" with `keying = \"sdes\"`",
            );
        }
        read
    }
}

fn srtp(table: &Table<'_, '_>) -> Option<SrtpPolicy> {
    if let Some((on, span)) = table.misplaced_boolean("srtp") {
        let word = if on { "required" } else { "off" };
        let message = format!("`srtp` is {on}, but one of \"off\", \"preferred\", \"required\" is wanted");
        table.error(span, message, format!("write \"{word}\""));
        return None;
    }
    let words = [("off", SrtpPolicy::Off), ("preferred", SrtpPolicy::Preferred), ("required", SrtpPolicy::Required)];
    table.choice("srtp", &words).map(|found| found.value)
}

fn keying(table: &Table<'_, '_>) -> Option<Vec<Keying>> {
    let written = table.text_or_texts("keying", "\"sdes\", \"dtls\" or a list of both, best first")?;
    if written.is_empty() {
        table.error(table.key_span("keying"), "`keying` is empty", "write \"sdes\" or \"dtls\"");
    }
    let mut keying = Vec::new();
    for name in written {
        let found = match name.value.as_str() {
            "dtls" => Keying::Dtls,
            "sdes" => Keying::Sdes,
            other => {
                let message = format!("`{other}` is not a way to agree on keys");
                table.error(name.span, message, "write \"sdes\" or \"dtls\"");
                continue;
            }
        };
        if keying.contains(&found) {
            table.error(name.span, format!("`{}` is listed twice", name.value), "remove one of the two");
        }
        keying.push(found);
    }
    Some(keying)
}

fn codecs(table: &Table<'_, '_>) -> Option<Vec<Codec>> {
    let names = table.texts("codecs")?;
    let mut codecs = Vec::new();
    for name in names {
        let Some(codec) = Codec::ALL.into_iter().find(|codec| codec.encoding_name().eq_ignore_ascii_case(&name.value))
        else {
            let known = Codec::ALL.map(|codec| format!("\"{}\"", codec.encoding_name())).join(" or ");
            table.error(name.span, format!("there is no codec `{}`", name.value), format!("write {known}"));
            continue;
        };
        if codecs.contains(&codec) {
            table.error(name.span, format!("`{}` is listed twice", name.value), "remove one of the two");
        }
        codecs.push(codec);
    }
    if codecs.is_empty() {
        table.error(table.key_span("codecs"), "`codecs` is empty", "write `codecs = [\"PCMU\", \"PCMA\"]`");
    }
    Some(codecs)
}

fn session_timer(table: &Table<'_, '_>, before: Option<SessionTimer>) -> Option<SessionTimer> {
    if table.holds("session_timer", "off") {
        return None;
    }
    let Some(timer) = table.table("session_timer", "session_timer") else { return before };
    let default = before.unwrap_or_default();
    let found = SessionTimer {
        expires: timer.duration("expires", SESSION_MIN..=SESSION_MAX).unwrap_or(default.expires),
        min_se: timer.duration("min_se", SESSION_MIN..=SESSION_MAX).unwrap_or(default.min_se),
        refresher: timer
            .choice(
                "refresher",
                &[("either", Refresher::Either), ("ours", Refresher::Ours), ("theirs", Refresher::Theirs)],
            )
            .map_or(default.refresher, |found| found.value),
    };
    if found.expires < found.min_se {
        timer.error(timer.span(), "`expires` is shorter than `min_se`", "write an `expires` of at least `min_se`");
    }
    timer.finish();
    Some(found)
}

fn questions(table: &Table<'_, '_>, before: Questions) -> Questions {
    let Some(asked) = table.table("questions", "questions") else { return before };
    let wording = |key, before| none_or(&asked, key, before, || asked.text(key).map(|text| text.value));
    let found = Questions {
        host: wording("host", before.host),
        user: wording("user", before.user),
        auth_user: wording("auth_user", before.auth_user),
        password: wording("password", before.password),
        number: wording("number", before.number),
    };
    asked.finish();
    found
}

fn printable(text: &str) -> Option<String> {
    (text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')).then(|| text.to_owned())
}
