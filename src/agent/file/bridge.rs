//! `bridge:`, the bot outside that talks instead of a flow.

use super::reader::{Fields, Reader};
use super::services::{fill_url, read_header, read_headers};
use super::{Agent, Names};
use crate::agent::bridge::{
    BUFFER, Bridge, BridgeEncoding, BridgeEnd, BridgeProtocol, CONNECT_TIMEOUT, Fallback, FallbackLine, QUEUE,
    RECONNECTS,
};
use crate::agent::limits::{BRIDGE_BUFFER, BRIDGE_CONNECT, BRIDGE_PARAMETERS, BRIDGE_QUEUE, BRIDGE_RECONNECTS};
use crate::agent::source::{Node, Yaml};
use crate::agent::tool::HeaderText;
use crate::base::SampleRate;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const KEYS: &[&str] = &[
    "account_sid",
    "barge_in",
    "buffer",
    "connect_timeout",
    "encoding",
    "fallback",
    "headers",
    "parameters",
    "protocol",
    "queue",
    "rate",
    "reconnects",
    "signed_by",
    "sip_headers",
    "url",
    "when_done",
];

/// Keys of an agent file that belong to a flow.
const OF_A_FLOW: [&str; 10] =
    ["calendars", "intents", "no_input_after", "nodes", "on", "phrases", "retries", "start", "tools", "understanding"];

const RATES: [(&str, SampleRate); 3] =
    [("8000", SampleRate::NARROWBAND), ("16000", SampleRate::WIDEBAND), ("24000", SampleRate(24_000))];

/// Reads the section; `None` when the agent has a flow.
pub(super) fn read_bridge(
    reader: &mut Reader,
    root: &Fields<'_>,
    names: &Names,
    settings: &BTreeMap<String, String>,
) -> Option<Bridge> {
    let section = root.get("bridge")?;
    for key in OF_A_FLOW.iter().filter_map(|name| root.key(name)) {
        let help = Some(format!("a bot talks here: remove `{}`, or remove `bridge`", key.name));
        reader.error_at_key(key, format!("`{}` belongs to a flow, and this agent has `bridge`", key.name), help);
    }
    let fields = reader.fields(section, "`bridge`", KEYS)?;
    let url = reader.require(&fields, "url", "`bridge`").and_then(|node| read_url(reader, node, settings));
    let protocol = reader
        .require(&fields, "protocol", "`bridge`")
        .and_then(|node| reader.one_of(node, "a protocol", &BridgeProtocol::NAMES));
    let encoding =
        fields.get("encoding").map(|node| (node, reader.one_of(node, "an encoding", &BridgeEncoding::NAMES)));
    let rate = fields.get("rate").map(|node| (node, reader.one_of(node, "a rate", &RATES)));
    let is_twilio = protocol == Some(BridgeProtocol::Twilio);
    if is_twilio {
        let help = || Some("remove the line, or write `protocol: lean`".to_owned());
        if let Some((node, _)) = encoding.filter(|(_, encoding)| *encoding != Some(BridgeEncoding::Mulaw)) {
            reader.error(node, "audio of a Twilio stream is always `mulaw`", help());
        }
        if let Some((node, _)) = rate.filter(|(_, rate)| *rate != Some(SampleRate::NARROWBAND)) {
            reader.error(node, "audio of a Twilio stream is always at 8000", help());
        }
    } else {
        for key in ["signed_by", "account_sid"].iter().filter_map(|name| fields.key(name)) {
            let help = Some("remove it, or write `protocol: twilio`".to_owned());
            reader.error_at_key(key, format!("`{}` is for Twilio's protocol alone", key.name), help);
        }
    }
    let usual = if is_twilio {
        (BridgeEncoding::Mulaw, SampleRate::NARROWBAND)
    } else {
        (BridgeEncoding::Pcm16, SampleRate::WIDEBAND)
    };
    let sip_headers = fields.get("sip_headers").map(|node| read_sip_headers(reader, node)).unwrap_or_default();
    let mut time = |name: &str, bounds: (Duration, Duration), usual: Duration| {
        fields.get(name).and_then(|node| reader.duration(node, bounds.0, bounds.1)).unwrap_or(usual)
    };
    let connect_timeout = time("connect_timeout", BRIDGE_CONNECT, CONNECT_TIMEOUT);
    let buffer = time("buffer", BRIDGE_BUFFER, BUFFER);
    let queue = time("queue", BRIDGE_QUEUE, QUEUE);
    let most = f64::from(BRIDGE_RECONNECTS);
    let reconnects = fields.get("reconnects").and_then(|node| reader.number(node, 0.0, most));
    let barge_in = fields.get("barge_in").and_then(|node| {
        reader.one_of(node, "a way to be interrupted", &[("local", true), ("off", false), ("false", false)])
    });
    Some(Bridge {
        url: url.unwrap_or_default(),
        protocol: protocol.unwrap_or(BridgeProtocol::Lean),
        encoding: encoding.and_then(|(_, encoding)| encoding).unwrap_or(usual.0),
        rate: rate.and_then(|(_, rate)| rate).unwrap_or(usual.1),
        headers: fields.get("headers").map(|node| read_headers(reader, node)).unwrap_or_default(),
        signed_by: fields.get("signed_by").and_then(|node| read_key(reader, node)),
        account_sid: fields.get("account_sid").and_then(|node| reader.text(node)),
        parameters: fields.get("parameters").map(|node| read_parameters(reader, node)).unwrap_or_default(),
        sip_headers,
        connect_timeout,
        buffer,
        queue,
        reconnects: reconnects.map_or(RECONNECTS, |number| number as u32),
        barge_in: barge_in.unwrap_or(false),
        when_done: fields.get("when_done").and_then(|node| read_end(reader, node, names)).unwrap_or_default(),
        fallback: fields.get("fallback").map(|node| read_fallback(reader, node, names)).unwrap_or_default(),
    })
}

/// What needs the whole file: destinations that only a flow can use.
pub(super) fn check_destinations(reader: &mut Reader, agent: &Agent, fields: &Fields<'_>) {
    let Some(Yaml::Map(entries)) = fields.get("destinations").map(|node| &node.value) else { return };
    for ((key, node), destination) in entries.iter().zip(&agent.destinations) {
        if destination.announce.is_some() {
            let Yaml::Map(entries) = &node.value else { continue };
            let at = entries.iter().find(|(key, _)| key.name == "announce").map_or(key, |(key, _)| key);
            let help = Some("remove it: the bot can tell the caller instead".to_owned());
            reader.error_at_key(at, "a bot's transfers are not announced to the other side", help);
        }
    }
}

fn read_url(reader: &mut Reader, node: &Node, settings: &BTreeMap<String, String>) -> Option<String> {
    let url = fill_url(reader, node, settings)?;
    let Some(rest) = url.strip_prefix("wss://").or_else(|| url.strip_prefix("ws://")) else {
        let help = match url.split_once("://") {
            Some(("https", rest)) => format!("write `wss://{rest}`"),
            Some(("http", rest)) => format!("write `ws://{rest}`"),
            _ => "such as `wss://bot.example.com/media`".to_owned(),
        };
        reader.error(node, "a bot's URL starts with `wss://` (or `ws://` for bots on this machine)", Some(help));
        return None;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains(['{', '}', '@', ' ', '\\']) || rest.contains(['#', ' ']) {
        let help = Some("no user name, no blanks and no `#` in it; secrets go into `headers`".to_owned());
        reader.error(node, "this is no URL of a bot", help);
        return None;
    }
    Some(url)
}

/// A secret: `{env: NAME}` or `{file: PATH}`.
fn read_key(reader: &mut Reader, node: &Node) -> Option<HeaderText> {
    if matches!(node.value, Yaml::Map(_)) {
        return read_header(reader, node);
    }
    let help = Some("`{env: TWILIO_AUTH_TOKEN}` or `{file: token.txt}` keeps it out of the file".to_owned());
    reader.error(node, "a key does not stand in an agent file", help);
    None
}

fn read_parameters(reader: &mut Reader, node: &Node) -> Vec<(String, String)> {
    let Some(entries) = reader.mapping(node, "`parameters`") else { return Vec::new() };
    if entries.iter().count() > BRIDGE_PARAMETERS {
        reader.error(node, format!("more than {BRIDGE_PARAMETERS} parameters"), None);
    }
    entries
        .iter()
        .filter_map(|(key, node)| {
            if key.name.is_empty() || key.name.chars().any(char::is_control) {
                reader.error_at_key(key, "this cannot name a parameter", None);
            }
            let line = reader.lines(node, &[]).into_iter().next()?;
            Some((key.name.clone(), line))
        })
        .collect()
}

fn read_sip_headers(reader: &mut Reader, node: &Node) -> Vec<String> {
    let names = reader.texts(node);
    let valid = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
    };
    if let Some(name) = names.iter().find(|name| !valid(name)) {
        reader.error(node, format!("`{name}` is no header name"), Some("such as `X-Customer`".into()));
    }
    names
}

/// `hangup` or `{transfer: desk}`.
fn read_end(reader: &mut Reader, node: &Node, names: &Names) -> Option<BridgeEnd> {
    if matches!(node.value, Yaml::Map(_)) {
        let fields = reader.fields(node, "what follows", &["transfer"])?;
        let target = reader.require(&fields, "transfer", "what follows")?;
        return reader.reference(target, "destination", &names.destinations).map(BridgeEnd::Transfer);
    }
    reader.one_of(node, "what can follow: `hangup` or `{transfer: …}`", &[("hangup", ())]).map(|()| BridgeEnd::Hangup)
}

/// The words, or `{say | wav, transfer}`.
fn read_fallback(reader: &mut Reader, node: &Node, names: &Names) -> Fallback {
    if !matches!(node.value, Yaml::Map(_)) {
        let line = reader.text(node).map_or(FallbackLine::Tone, FallbackLine::Say);
        return Fallback { line, then: BridgeEnd::Hangup };
    }
    let Some(fields) = reader.fields(node, "`fallback`", &["say", "transfer", "wav"]) else {
        return Fallback::default();
    };
    let line = match (fields.get("say"), fields.get("wav")) {
        (Some(_), Some(node)) => {
            reader.error(node, "give `say` or `wav`, not both", None);
            FallbackLine::Tone
        }
        (Some(node), None) => reader.text(node).map_or(FallbackLine::Tone, FallbackLine::Say),
        (None, Some(node)) => reader.text(node).map_or(FallbackLine::Tone, |path| FallbackLine::Wav(path.into())),
        (None, None) => FallbackLine::Tone,
    };
    let target = fields.get("transfer").and_then(|node| reader.reference(node, "destination", &names.destinations));
    Fallback { line, then: target.map_or(BridgeEnd::Hangup, BridgeEnd::Transfer) }
}

/// Makes the paths of an agent independent of where the process runs.
pub(super) fn locate(agent: &mut Agent, agent_file: &Path) {
    let Some(folder) = agent_file.parent() else { return };
    let join = |text: &mut HeaderText| {
        if let HeaderText::File(file) = text {
            *file = folder.join(&*file).display().to_string();
        }
    };
    agent.tools.iter_mut().flat_map(|tool| &mut tool.headers).for_each(|(_, text)| join(text));
    let Some(bridge) = &mut agent.bridge else { return };
    bridge.headers.iter_mut().for_each(|(_, text)| join(text));
    bridge.signed_by.iter_mut().for_each(join);
    if let FallbackLine::Wav(wav) = &mut bridge.fallback.line {
        *wav = folder.join(&*wav);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(bridge: &str) -> Vec<String> {
        let source = format!("agent: a\ndestinations: {{desk: {{extension: \"20\"}}}}\n{bridge}\n");
        let checked = super::super::check("a.yaml", &source, &[]);
        assert_eq!(checked.agent.is_none(), checked.report.errors().next().is_some());
        let shown = |e: &crate::agent::diagnostic::Diagnostic| {
            format!("{}:{} {} -> {}", e.at.line, e.at.column, e.message, e.help.clone().unwrap_or_default())
        };
        checked.report.errors().map(shown).collect()
    }

    fn agent(yaml: &str) -> Agent {
        let source = format!("agent: a\ndestinations: {{desk: {{extension: \"20\"}}}}\n{yaml}\n");
        Agent::parse("a.yaml", &source, &[]).unwrap_or_else(|e| panic!("{e}"))
    }

    fn bridge(yaml: &str) -> Bridge {
        agent(yaml).bridge.unwrap()
    }

    #[test]
    fn a_bridge_needs_no_nodes_and_little_else() {
        let bridge = bridge("bridge: {url: \"wss://bot.example/x\", protocol: twilio}");
        assert_eq!((bridge.encoding, bridge.rate), (BridgeEncoding::Mulaw, SampleRate::NARROWBAND));
        assert_eq!(bridge.fallback, Fallback::default());
        let lean = self::bridge("bridge: {url: \"ws://127.0.0.1:9000/\", protocol: lean, rate: 24000}");
        assert_eq!((lean.encoding, lean.rate), (BridgeEncoding::Pcm16, SampleRate(24_000)));
    }

    #[test]
    fn everything_that_can_be_said_is_taken() {
        let mut agent = agent(
            "settings: {host: \"wss://bot.example\"}\nbridge:\n  url: \"{{ settings.host }}/media\"\n  protocol: lean\n  \
             encoding: mulaw\n  rate: 8000\n  headers: {Authorization: {env: TOKEN}, X-B: {file: b.txt}}\n  \
             parameters: {from: \"{{ call.caller_number }}\"}\n  sip_headers: [X-Customer]\n  connect_timeout: 2s\n  \
             buffer: 3s\n  queue: 20s\n  reconnects: 0\n  barge_in: local\n  when_done: {transfer: desk}\n  \
             fallback: {wav: sorry.wav, transfer: desk}",
        );
        let bridge = agent.bridge.clone().unwrap();
        assert_eq!(bridge.url, "wss://bot.example/media");
        assert_eq!(bridge.headers[0].1, HeaderText::Environment("TOKEN".into()));
        assert_eq!(bridge.headers[1].1, HeaderText::File("b.txt".into()));
        assert!(bridge.barge_in && bridge.reconnects == 0 && bridge.queue == Duration::from_secs(20));
        assert_eq!(bridge.when_done, BridgeEnd::Transfer(0));
        assert_eq!(bridge.fallback.line, FallbackLine::Wav("sorry.wav".into()));
        locate(&mut agent, Path::new("agents/a.yaml"));
        let bridge = agent.bridge.unwrap();
        assert_eq!(bridge.fallback.line, FallbackLine::Wav("agents/sorry.wav".into()));
        assert_eq!(bridge.headers[1].1, HeaderText::File("agents/b.txt".into()));
    }

    #[test]
    fn mistakes_are_shown_with_their_place_and_what_would_be_right() {
        let good = "url: \"wss://b.example/\", protocol: lean";
        for (yaml, wanted) in [
            ("bridge: {protocol: lean}".to_owned(), "`bridge` needs `url`"),
            ("bridge: {url: \"wss://b.example/\"}".to_owned(), "`bridge` needs `protocol`"),
            ("bridge: {url: \"https://b.example/x\", protocol: lean}".to_owned(), "write `wss://b.example/x`"),
            ("bridge: {url: \"wss://u:p@b.example/\", protocol: lean}".to_owned(), "secrets go into `headers`"),
            ("bridge: {url: \"wss://b.example/\", protocol: twillio}".to_owned(), "did you mean `twilio`"),
            ("bridge: {url: \"wss://b.example/\", protocol: twilio, rate: 16000}".to_owned(), "always at 8000"),
            ("bridge: {url: \"wss://b.example/\", protocol: twilio, encoding: pcm16}".to_owned(), "always `mulaw`"),
            (format!("bridge: {{{good}, signed_by: {{env: T}}}}"), "Twilio's protocol alone"),
            (format!("bridge: {{{good}, rate: 44100}}"), "is not a rate"),
            (format!("bridge: {{{good}, parmeters: {{}}}}"), "unknown key `parmeters`"),
            (format!("bridge: {{{good}, parameters: {{a: \"{{{{ x }}}}\"}}}}"), "unknown variable `x`"),
            (format!("bridge: {{{good}, fallback: {{transfer: desc}}}}"), "no destination `desc`"),
            (format!("bridge: {{{good}, queue: 2h}}"), "length of time"),
            (format!("bridge: {{{good}}}\nstart: x"), "belongs to a flow"),
        ] {
            let found = problems(&yaml);
            assert!(found.iter().any(|problem| problem.contains(wanted)), "{yaml}: {found:#?}");
        }
    }

    #[test]
    fn an_announcement_is_refused_because_nobody_would_make_it() {
        let source = "agent: a\ndestinations:\n  desk: {extension: \"20\", mode: attended, announce: Hello.}\nbridge: \
                      {url: \"wss://b.example/\", protocol: lean}\n";
        let checked = super::super::check("a.yaml", source, &[]);
        let error = checked.report.errors().next().unwrap();
        assert_eq!((error.at.line, error.at.column), (3, 43));
    }
}
