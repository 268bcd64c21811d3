//! The sections that are about this server itself, apart from SIP: `[media] [models] [inference] [agents] [tools]
//! [logging]`.

use super::reader::Table;
use crate::audio::codec::OpusSettings;
use crate::audio::tones::Tone;
use crate::base::SampleRate;
use crate::tools::{CallBudget, EgressPolicy, HostRule, limits};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// Lowest RTP port: below it are the ports of system services.
const PORT_MIN: u16 = 1024;
/// Fewest ports of a range: each call needs two.
const PORTS_MIN: u16 = 8;
/// Rates at which Opus runs (RFC 6716 §2).
const OPUS_RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];
/// Shortest and longest rest of a port: late packets of the old call are gone within seconds, and a port that rests for
/// minutes is a port that is missing.
const QUARANTINE_MIN: Duration = Duration::from_secs(1);
const QUARANTINE_MAX: Duration = Duration::from_secs(120);
/// Percent of late turns that may be asked for: with more than half of them late, nothing is left to protect.
const LATE_SHARE: std::ops::RangeInclusive<i64> = 1..=50;
/// A turn comes every few milliseconds, and receivers hold back some tens: in between a limit makes sense.
const LATE_AFTER_MIN: Duration = Duration::from_millis(2);
const LATE_AFTER_MAX: Duration = Duration::from_millis(200);
/// Shorter, and one hiccup refuses calls; longer, and calls are refused long after it.
const WINDOW_MIN: Duration = Duration::from_secs(1);
const WINDOW_MAX: Duration = Duration::from_secs(60);
/// Most worker or inference threads.
const THREADS_MAX: i64 = 256;
/// Most requests that may wait for inference.
const QUEUE_MAX: i64 = 10_000;

/// A range of UDP ports, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRange {
    /// The first port, even.
    pub first: u16,
    /// The last port, odd.
    pub last: u16,
}

impl PortRange {
    /// Calls that fit in at once: RTP and RTCP take one port each.
    #[must_use]
    pub fn calls(self) -> usize {
        usize::from(self.last - self.first).div_ceil(2)
    }
}

/// When further calls are refused because those that are up would suffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LatenessLimit {
    /// Share of late turns of a media thread above which it takes no further call, in percent. Default 2.
    pub late_share: u8,
    /// A turn that begins this much after its time is late. Default 10 ms.
    pub late_after: Duration,
    /// The time that is looked back upon. Default 4 s.
    pub window: Duration,
}

impl Default for LatenessLimit {
    fn default() -> Self {
        Self { late_share: 2, late_after: Duration::from_millis(10), window: Duration::from_secs(4) }
    }
}

/// `[media]`: where RTP flows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Media {
    /// Local address of the RTP sockets. Default `0.0.0.0`.
    pub bind: IpAddr,
    /// Ports. Default 20000–29999.
    pub rtp_ports: PortRange,
    /// Worker threads, and as many for calls with bots; `None`: half the cores, at least one.
    pub workers: Option<usize>,
    /// How long a port rests before another call gets it. Default 5 s.
    pub quarantine: Duration,
    /// How Opus is run, where it is the codec.
    pub opus: OpusSettings,
    /// Comfort noise instead of silence, where the peer does it too. Default off.
    pub comfort_noise: bool,
    /// When no further call is taken; `None`: whatever the load. Default 2 % of turns over 10 ms late within 4 s.
    pub admission: Option<LatenessLimit>,
    /// WAV file for whoever waits on hold; `None`: two soft notes every six seconds.
    pub hold_music: Option<PathBuf>,
    /// What a caller hears while the target of a transfer rings. Default `"itu"`, 425 Hz.
    pub ringback: Tone,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::UNSPECIFIED.into(),
            rtp_ports: PortRange { first: 20_000, last: 29_999 },
            workers: None,
            quarantine: Duration::from_secs(5),
            opus: OpusSettings::VOICE,
            comfort_noise: false,
            admission: Some(LatenessLimit::default()),
            hold_music: None,
            ringback: Tone::RingbackItu,
        }
    }
}

impl Media {
    pub(super) fn read(table: Table<'_, '_>, base: &Path) -> Option<Self> {
        let default = Self::default();
        let bind = table.parsed("bind", "an address such as \"0.0.0.0\"").map_or(default.bind, |a| a.value);
        let range = table.read("rtp_ports", "a range such as \"20000-29999\"", |text| {
            let (first, last) = text.split_once('-')?;
            Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?))
        });
        let mut rtp_ports = default.rtp_ports;
        if let Some(range) = range {
            let (first, last) = range.value;
            let problem = if first < PORT_MIN {
                Some((
                    format!("ports below {PORT_MIN} belong to system services"),
                    format!("start at {PORT_MIN} or above"),
                ))
            } else if last < first {
                Some((format!("the range runs backwards from {first} to {last}"), format!("write \"{last}-{first}\"")))
            } else if last - first + 1 < PORTS_MIN {
                Some((
                    format!("{} ports are too few: a call takes two", last - first + 1),
                    "write a range of at least 8 ports".to_owned(),
                ))
            } else if first % 2 == 1 {
                Some((
                    format!("{first} is odd, but RTP takes even ports (RFC 3550 section 11)"),
                    format!("start at {}", first + 1),
                ))
            } else {
                None
            };
            match problem {
                Some((message, fix)) => table.error(range.span, message, fix),
                // An even last port has no partner for RTCP.
                None => rtp_ports = PortRange { first, last: if last % 2 == 0 { last - 1 } else { last } },
            }
        }
        let ringback = table.choice("ringback", &[("itu", Tone::RingbackItu), ("north-america", Tone::Ringback)]);
        let media = Self {
            bind,
            rtp_ports,
            workers: table.integer("workers", 1..=THREADS_MAX).map(|n| n as usize),
            quarantine: table.duration("quarantine", QUARANTINE_MIN..=QUARANTINE_MAX).unwrap_or(default.quarantine),
            opus: table.table("opus", "opus").map_or(default.opus, read_opus),
            comfort_noise: table.switch("comfort_noise"),
            admission: read_admission(&table),
            hold_music: table.text("hold_music").map(|file| base.join(file.value)),
            ringback: ringback.map_or(default.ringback, |tone| tone.value),
        };
        table.finish();
        Some(media)
    }
}

/// `admission = "off"` or `admission = { … }` of `[media]`.
fn read_admission(table: &Table<'_, '_>) -> Option<LatenessLimit> {
    const KEY: &str = "admission";
    let default = LatenessLimit::default();
    if table.holds(KEY, "off") {
        return None;
    }
    if !table.has(KEY) {
        return Some(default);
    }
    let Some(table) = table.table(KEY, KEY) else { return Some(default) };
    let share = table.integer("late_share", LATE_SHARE).and_then(|percent| u8::try_from(percent).ok());
    let limit = LatenessLimit {
        late_share: share.unwrap_or(default.late_share),
        late_after: table.duration("late_after", LATE_AFTER_MIN..=LATE_AFTER_MAX).unwrap_or(default.late_after),
        window: table.duration("window", WINDOW_MIN..=WINDOW_MAX).unwrap_or(default.window),
    };
    table.finish();
    Some(limit)
}

/// `opus = { … }` of `[media]`.
fn read_opus(table: Table<'_, '_>) -> OpusSettings {
    let default = OpusSettings::VOICE;
    let mut opus = default;
    if let Some(rate) = table.integer("sample_rate", 8_000..=48_000).and_then(|rate| u32::try_from(rate).ok()) {
        if OPUS_RATES.contains(&rate) {
            opus.sample_rate = SampleRate(rate);
        } else {
            let message = format!("`sample_rate` is {rate}, at which Opus does not run");
            table.error(table.key_span("sample_rate"), message, "write 8000, 16000, 24000 or 48000");
        }
    }
    let number = |key, range, before: u32| {
        table.integer(key, range).and_then(|number| u32::try_from(number).ok()).unwrap_or(before)
    };
    opus.bitrate = number("bitrate", 6_000..=510_000, default.bitrate);
    opus.complexity = number("complexity", 0..=10, default.complexity.into()) as u8;
    opus.expected_loss_percent = number("expected_loss", 0..=100, default.expected_loss_percent.into()) as u8;
    opus.fec = table.boolean("fec").unwrap_or(default.fec);
    opus.dtx = table.boolean("dtx").unwrap_or(default.dtx);
    table.finish();
    opus
}

pub(super) fn read_models(table: Table<'_, '_>, base: &Path) -> Option<PathBuf> {
    let dir = table.text("dir").map(|dir| base.join(dir.value));
    table.finish();
    dir
}

/// `[inference]`: the bounded pool of the offline engines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inference {
    /// Threads; `None`: what the cores allow beside the media workers.
    pub threads: Option<usize>,
    /// Requests that may wait; `None`: the pool's own limit.
    pub queue: Option<usize>,
}

impl Inference {
    pub(super) fn read(table: Table<'_, '_>) -> Option<Self> {
        let inference = Self {
            threads: table.integer("threads", 1..=THREADS_MAX).map(|n| n as usize),
            queue: table.integer("queue", 1..=QUEUE_MAX).map(|n| n as usize),
        };
        table.finish();
        Some(inference)
    }
}

/// One entry of `[agents]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentEntry {
    /// The agent file.
    pub file: PathBuf,
    /// Settings that override the file's own, by name.
    pub settings: BTreeMap<String, String>,
}

pub(super) fn read_agents(table: Option<Table<'_, '_>>, base: &Path) -> BTreeMap<String, AgentEntry> {
    let mut agents = BTreeMap::new();
    let Some(table) = table else { return agents };
    for (name, value) in table.entries() {
        if super::BUILT_IN_AGENTS.contains(&name.value.as_str()) {
            let message = format!("the agent `{}` is built in", name.value);
            table.error(name.span.clone(), message, "give yours another name");
        }
        // A name with a mistake in its entry is still a name: whoever refers to it made none.
        let mut entry = AgentEntry { file: PathBuf::new(), settings: BTreeMap::new() };
        match value.get_ref() {
            DeValue::String(file) => entry.file = base.join(file.as_ref()),
            DeValue::Table(inner) => {
                let header = format!("[agents.{}]", name.value);
                let inner = Table::new(table.reader(), inner, value.span(), &header);
                entry.file =
                    inner.required("file", "\"clinic.yaml\"").map_or_else(PathBuf::new, |file| base.join(file.value));
                entry.settings = inner.table("settings", "settings").map_or_else(BTreeMap::new, read_settings);
                inner.finish();
            }
            other => {
                let message = format!("agent `{}` is of type {}, but a file is wanted", name.value, other.type_str());
                table.error(value.span(), message, format!("write `{} = \"{}.yaml\"`", name.value, name.value));
            }
        }
        agents.insert(name.value, entry);
    }
    agents
}

fn read_settings(table: Table<'_, '_>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (name, value) in table.entries() {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(on) => on.to_string(),
            other => {
                let message = format!("setting `{}` is of type {}", name.value, other.type_str());
                table.error(value.span(), message, "write a string, a number, true or false");
                continue;
            }
        };
        settings.insert(name.value, text);
    }
    settings
}

/// One `[[tools.host]]`: what is different for one host that tools talk to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolHost {
    /// Host name or address.
    pub name: String,
    /// Ports beside 443 and 8443.
    pub ports: Vec<u16>,
    /// Lets the host be on a loopback, private, CGNAT or unique local address.
    pub danger_allow_private_addresses: bool,
    /// Lets requests go out in clear text.
    pub danger_allow_http: bool,
}

/// `[tools]`: what actions during a call may reach and spend.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tools {
    /// `[[tools.host]]`.
    pub hosts: Vec<ToolHost>,
    /// PEM file of root certificates trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What one phone call may spend.
    pub budget: CallBudget,
}

impl Tools {
    /// The rules of the egress guard.
    #[must_use]
    pub fn egress_policy(&self) -> EgressPolicy {
        EgressPolicy::new(self.hosts.iter().map(|host| {
            let mut rule = HostRule::new(&host.name).ports(host.ports.iter().copied());
            if host.danger_allow_private_addresses {
                rule = rule.danger_allow_private_addresses();
            }
            if host.danger_allow_http {
                rule = rule.danger_allow_http();
            }
            rule
        }))
    }

    pub(super) fn read(table: Table<'_, '_>, base: &Path) -> Option<Self> {
        let default = CallBudget::default();
        let calls = table.integer("calls_per_phone_call", 0..=10_000);
        let time = table.duration("time_per_phone_call", Duration::from_secs(1)..=Duration::from_secs(3_600));
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let hosts = table
            .tables("host", "[[tools.host]]")
            .into_iter()
            .filter_map(|host| {
                let name = host.required("name", "\"127.0.0.1\"");
                if let Some(name) = &name {
                    if name.value.contains(['/', ' ', '@'])
                        || (name.value.contains(':') && name.value.parse::<IpAddr>().is_err())
                    {
                        let message = format!("`{}` is not a host", name.value);
                        host.error(
                            name.span.clone(),
                            message,
                            "write the name or address alone, without scheme, port or path",
                        );
                    }
                    let line = host.reader().line(&name.span);
                    if let Some(first) = seen.insert(name.value.to_lowercase(), line) {
                        let message = format!("`{}` has a [[tools.host]] on line {first} already", name.value);
                        host.error(name.span.clone(), message, "put everything about a host into one table");
                    }
                }
                let entry = ToolHost {
                    ports: host
                        .integers("ports", 1..=65_535)
                        .into_iter()
                        .filter_map(|port| u16::try_from(port).ok())
                        .collect(),
                    danger_allow_private_addresses: host.switch("danger_allow_private_addresses"),
                    danger_allow_http: host.switch("danger_allow_http"),
                    name: name.map(|name| name.value).unwrap_or_default(),
                };
                host.finish();
                (!entry.name.is_empty()).then_some(entry)
            })
            .collect();
        let tools = Self {
            hosts,
            ca_file: table.text("ca_file").map(|file| base.join(file.value)),
            budget: CallBudget {
                calls: calls.and_then(|calls| u32::try_from(calls).ok()).unwrap_or(default.calls),
                time: time.unwrap_or(limits::TIME_PER_PHONE_CALL),
            },
        };
        table.finish();
        Some(tools)
    }
}

/// The form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    #[default]
    Text,
}

/// `[logging]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logging {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,offhook::sip=debug`. Default `info`.
    pub filter: String,
    /// Default text.
    pub format: LogFormat,
}

impl Default for Logging {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::default() }
    }
}

impl Logging {
    pub(super) fn read(table: Table<'_, '_>) -> Option<Self> {
        let wanted = "a level (error, warn, info, debug, trace) or a filter such as \"info,offhook::sip=debug\"";
        let filter = table.read("level", wanted, |text| {
            text.parse::<tracing_subscriber::filter::Targets>().ok()?;
            // A bare word that is no level would silently switch everything else off.
            text.split(',').all(is_directive).then(|| text.to_owned())
        });
        let format = table.choice("format", &[("json", LogFormat::Json), ("text", LogFormat::Text)]);
        let logging = Self {
            filter: filter.map_or_else(|| Self::default().filter, |filter| filter.value),
            format: format.map(|format| format.value).unwrap_or_default(),
        };
        table.finish();
        Some(logging)
    }
}

fn is_directive(directive: &str) -> bool {
    let level = directive.split_once('=').map_or(directive, |(_, level)| level).trim();
    ["error", "warn", "info", "debug", "trace", "off"].contains(&level)
}
