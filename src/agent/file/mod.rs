//! The agent file: YAML becomes a checked [`Agent`].
//!
//! Everything is read before anything is judged useless, so that one run shows every problem. Names are
//! collected first; then each section is read against them; then the graph is checked (`check.rs`).
//!
//! The format in one look (`examples/clinic.yaml` is a whole agent):
//!
//! ```yaml
//! agent: front-desk                 # name
//! language: en-US                   # en-GB reads 3/12 as 3 December
//! timezone: Europe/Berlin           # for "tomorrow"; else the server's own
//! start: hello                      # first node
//! retries: 3                        # failed attempts per question; a node may say otherwise
//! no_input_after: 7s
//! settings: {api: "https://example.com"}            # overridable from outside; {{ settings.api }}
//! calendars:
//!   shop: {monday-friday: "9:00-12:00, 13:00-17:00", saturday: closed, closed: [2026-12-25]}
//! variables:                        # name: type, or name: {type, called, default, reason, …}
//!   day: {type: date, called: [day, date], from: today, until: +90 days, open: shop}
//!   time: {type: time, open: shop, on_day: day, every_minutes: 30}    # or between: ["9:00", "17:00"]
//!   guests: {type: number, min: 1, max: 8, whole: true}
//!   phone: {type: phone_number, digits: [7, 15]}
//!   kind: {type: choice, options: {cut: [trim], dye: {say: a colouring, synonyms: [colour]}}}
//!   sure: yes_no                    # also: name, text, list, any
//!   free: list
//! tools:
//!   look: {url: "{{ settings.api }}/free", arguments: {date: date}, timeout: 4s, result: {free: /free}}
//!   book:                           # method, headers ({env: NAME} for secrets), retries, confirm
//!     {method: POST, url: "{{ settings.api }}/book", arguments: {date: date, time: time}, confirm: true}
//!   cancel:                         # an argument is a type, or this; in: body, query or path
//!     {method: DELETE, url: "{{ settings.api }}/book", arguments: {day: {type: date, in: query, required: true, max_chars: 10}}}
//! destinations:
//!   desk: {description: the desk, extension: "20"}                    # or uri: sip:…
//!   boss: {extension: "1", mode: attended, announce: A caller., ring_for: 30s, through: carrier}   # mode: blind hands over at once
//! intents:
//!   book: {label: a booking, keywords: [book], patterns: ['\bappoint'], examples: [I want to come in]}
//!   hours: {keywords: [hours], answer: We open at nine.}              # answered anywhere, then asked again
//!   stop: {keywords: [never mind], next: bye}                         # leads away from anywhere
//! on:                               # responses: a node, or {say, next | transfer | hangup}; no way on: ask again
//!   wants_human: {say: Of course., transfer: desk}
//!   # also caller_silent, goodbye, low_confidence, model_refused, no_input, no_match, out_of_scope, provider_down,
//!   # retries_used_up, transfer_failed; a tool's node has error, or what it was: timeout, refused, status_404, not_json,
//!   # bad_answer, too_large, not_allowed, busy, circuit_open
//! phrases: {wait: Take your time.}  # busy, corrected, did_you_mean, read_back, sure, telephone, which besides
//! understanding: {accept: 0.58, suggest: 0.45, margin: 0.05, low_confidence: 0.35, confirm_below: 0.6}   # the defaults
//! nodes:                            # each may also have set, clear, completes, on
//!   hello: {say: [Hello., Hello again.], next: what}                  # n-th wording the n-th time; interruptible: false
//!   what: {route: {book: ask_day}, keys: {"1": ask_day}, question: What can I do?, listen_for: [day, time]}
//!   ask_day: {ask: day, question: [Which day?, "A day, please?"], listen_for: [time], next: free_times}
//!   free_times: {tool: look, with: {date: day}, filler: Let me see., next: ask_time, on: {error: sorry}}
//!   ask_time:
//!     ask: time
//!     question: What time?
//!     next: [{if: time in free, go: check}, {go: free_times}]         # first condition that holds
//!   check: {confirm: [day, time], question: "{{ day }} at {{ time }}, right?", next: save}
//!   save: {tool: book, with: {date: day, time: time}, next: bye, on: {status_409: ask_time, error: sorry}}
//!   sorry: {transfer: desk, say: I'll put you through., reason: The calendar did not answer., context: [day]}
//!   bye: {hangup: done, say: Goodbye.}                                # completed: false; headers of the BYE
//! ```
//!
//! A language model talks in a `converse` node (`examples/assistant.yaml` is a whole agent). It may call the node's
//! tools, note what it is told to collect and leave by the node's exits, and nothing else:
//!
//! ```yaml
//! agent: assistant
//! start: talk
//! speech_to_text: {use: [deepgram, local], language: en, languages: {es: other}}     # a name, a list of fallbacks, or this
//! language_model: {use: [openai, anthropic], temperature: 0.4, max_tokens: 300}
//! text_to_speech: {use: [elevenlabs, local], voice: "id", speed: 1.0}
//! speech_to_speech: {use: openai-realtime, voice: marin, turns: vendor}    # in place of the three, where a model talks
//! variables: {name: name, day: date}
//! tools:
//!   look: {url: "https://example.com/free", description: Free times of a day, arguments: {date: date}}
//!   book: {method: POST, url: "https://example.com/book", arguments: {name: name, date: date}, confirm: true}
//! destinations: {desk: {extension: "20"}}
//! on:
//!   model_refused: {say: Let us talk about something else.}            # also after a vendor's filter
//! nodes:
//!   talk:
//!     converse: You book appointments. The caller's number is {{ call.caller_number }}.     # filled in once, on entry
//!     opening: [How can I help you?, What else?]     # said word for word; or speak_first: true
//!     tools:                          # names, or:
//!       - {use: look, filler: Let me see.}
//!       - {use: book, read_back: "{{ name }} on {{ date }}, right?"}     # asked by us, and answered yes, before it runs
//!     collect: [name, day]            # typed and checked like answers
//!     exits: {done: bye, human: {go: desk, when: The caller wants what you cannot do}}
//!     listen_for: [day]               # also no_input_after, retries
//!     max_turns: 40
//!   desk: {transfer: desk}
//!   bye: {hangup: done, say: Goodbye.}
//! ```
//!
//! For lines that are noisy, faint or send the agent's own voice back, all off by default:
//!
//! ```yaml
//! listening: {echo_guard: true, gain_control: true, noise_suppression: true}
//! ```
//!
//! An agent whose talking a bot outside does has `bridge` in place of the flow (`examples/bridge.yaml`):
//!
//! ```yaml
//! bridge:
//!   url: wss://bot.example.com/media
//!   protocol: lean                  # or twilio: Media Streams
//!   rate: 16000                     # lean: 8000, 16000, 24000; encoding: pcm16 or mulaw
//!   headers: {Authorization: {env: BOT_TOKEN}}     # or {file: token.txt}
//!   # twilio: signed_by, the key of X-Twilio-Signature; account_sid
//!   sip_headers: [X-Customer]       # become call.sip_x_customer and a parameter of that name
//!   parameters: {line: "{{ call.called_number }}"}
//!   connect_timeout: 3s
//!   reconnects: 3                   # buffer: 5s of caller audio meanwhile; queue: 60s of the bot's
//!   barge_in: off                   # local: the caller's voice silences the bot here
//!   when_done: hangup               # or {transfer: desk}
//!   fallback: {say: Please call again later.}      # or wav; and transfer
//! ```

mod bridge;
mod check;
mod conversation;
mod converse;
mod listening;
mod nodes;
mod reader;
mod services;
mod speech;
mod variables;

use super::bridge::Bridge;
use super::calendar::Calendar;
use super::destination::Destination;
use super::diagnostic::{LoadError, Report, Severity, suggestion};
use super::flow::{Failure, Handler, Node, NodeIndex};
use super::intent::{Intent, Thresholds};
use super::limits::FILE_BYTES;
use super::listening::Listening;
use super::rule::Variable;
use super::source;
use super::speech::SpeechChoice;
use super::template::Templates;
use super::tool::ToolDefinition;
use reader::{Fields, Reader};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Keys at the top of an agent file.
const KEYS: &[&str] = &[
    "agent",
    "bridge",
    "calendars",
    "description",
    "destinations",
    "intents",
    "language",
    "language_model",
    "listening",
    "no_input_after",
    "nodes",
    "on",
    "phrases",
    "retries",
    "settings",
    "speech_to_speech",
    "speech_to_text",
    "start",
    "text_to_speech",
    "timezone",
    "tools",
    "understanding",
    "variables",
];

/// A checked agent: everything a conversation needs, ready to be shared by all calls.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its name.
    pub id: String,
    /// One line for people.
    pub description: String,
    /// BCP 47, such as `en-US`. Outside the United States numeric dates are read day first.
    pub language: String,
    /// IANA time zone of the business, such as `Europe/Berlin`; the server's own when absent.
    pub timezone: Option<String>,
    /// Settings with overrides applied.
    pub settings: BTreeMap<String, String>,
    /// Typed variables.
    pub variables: Vec<Variable>,
    /// Opening hours.
    pub calendars: Vec<Calendar>,
    /// What callers may want.
    pub intents: Vec<Intent>,
    /// HTTP actions.
    pub tools: Vec<ToolDefinition>,
    /// Where calls may be handed to.
    pub destinations: Vec<Destination>,
    /// The bot outside that talks instead of a flow. Without nodes, then.
    pub bridge: Option<Bridge>,
    /// What is done to the caller's audio before it is listened to.
    pub listening: Listening,
    /// Who listens, thinks and speaks.
    pub speech: SpeechChoice,
    /// The flow graph.
    pub nodes: Vec<Node>,
    /// Where a call starts.
    pub start: NodeIndex,
    /// The response to every failure that a node does not answer itself.
    pub on: Vec<(Failure, Handler)>,
    /// Short sentences of the conversation itself.
    pub phrases: Phrases,
    /// When likeness of meaning counts.
    pub thresholds: Thresholds,
    /// Speech-to-text confidence below which words are not acted on.
    pub low_confidence: f32,
    /// Confidence below which a value is confirmed first.
    pub confirm_below: f32,
    /// The template engine.
    pub templates: Templates,
}

/// Short sentences of the conversation itself; every one is a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Phrases {
    /// While a tool runs and the caller speaks.
    pub busy: String,
    /// After a correction; `{{ heard }}` is the new value.
    pub corrected: String,
    /// Before acting on an uncertain intent; `{{ label }}` names it.
    pub did_you_mean: String,
    /// Before a tool with `confirm` runs for a language model; `{{ heard }}` lists its arguments.
    pub read_back: String,
    /// Before taking an uncertain value; `{{ heard }}` is the value.
    pub sure: String,
    /// Stands after the prompt of every `converse` node: how one talks on the telephone, and what day it is.
    pub telephone: String,
    /// When the caller needs a moment.
    pub wait: String,
    /// After a no to a read-back.
    pub which: String,
}

impl Default for Phrases {
    fn default() -> Self {
        Self {
            busy: "One moment, please.".into(),
            corrected: "All right, {{ heard }}.".into(),
            did_you_mean: "Did you mean {{ label }}?".into(),
            read_back: "Let me read that back. {{ heard }}. Is that right?".into(),
            sure: "Did you say {{ heard }}?".into(),
            telephone: "You are talking to a caller on the telephone, and a voice reads out what you write. Speak in \
                        one or two short sentences of plain words, without lists, markup or emojis, and ask one thing \
                        at a time. Never claim to have done what no tool has confirmed. Today is {{ today | date }} \
                        ({{ today }}), the time is {{ now }}."
                .into(),
            wait: "Of course, take your time.".into(),
            which: "What should I change?".into(),
        }
    }
}

/// An agent together with everything that was noticed about its file.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The agent, when there is no error.
    pub agent: Option<Agent>,
    /// Errors, warnings and defaults.
    pub report: Report,
}

impl Agent {
    /// Reads and checks an agent file. `overrides` replace declared `settings`.
    ///
    /// # Errors
    /// [`LoadError::Unreadable`] when the file cannot be read, [`LoadError::Wrong`] with every problem in it.
    pub fn load(path: impl AsRef<Path>, overrides: &[(String, String)]) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let source =
            std::fs::read_to_string(path).map_err(|source| LoadError::Unreadable { path: name.clone(), source })?;
        let mut agent = Self::parse(&name, &source, overrides)?;
        bridge::locate(&mut agent, path);
        Ok(agent)
    }

    /// Checks an agent file's text; `path` is used in messages only.
    ///
    /// # Errors
    /// [`LoadError::Wrong`] with every problem in it.
    pub fn parse(path: &str, source: &str, overrides: &[(String, String)]) -> Result<Self, LoadError> {
        let Checked { agent, report } = check(path, source, overrides);
        agent.ok_or_else(|| LoadError::Wrong(Box::new(report)))
    }

    /// The variable with this name.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|v| v.name == name)
    }

    /// The response of a node to a failure: its own, or the agent's.
    #[must_use]
    pub fn response(&self, node: NodeIndex, failure: Failure) -> Option<&Handler> {
        let own = self.nodes.get(node).into_iter().flat_map(|node| &node.on);
        own.chain(&self.on).find(|(known, _)| *known == failure).map(|(_, handler)| handler)
    }
}

/// Names declared in the file, known before any section is read.
#[derive(Debug, Default)]
struct Names {
    nodes: Vec<String>,
    variables: Vec<String>,
    tools: Vec<String>,
    destinations: Vec<String>,
    intents: Vec<String>,
    calendars: Vec<String>,
}

/// Checks an agent file's text and says everything that was noticed, also when there is no error.
#[must_use]
pub fn check(path: &str, source: &str, overrides: &[(String, String)]) -> Checked {
    let mut report = Report { path: path.to_owned(), source: source.to_owned(), ..Report::default() };
    let start = super::diagnostic::Position { line: 1, column: 1 };
    if source.len() > FILE_BYTES {
        report.source = String::new();
        report.push(Severity::Error, start, 1, format!("larger than {} KiB", FILE_BYTES / 1024), None);
        return Checked { agent: None, report };
    }
    let Some(root) = source::parse(source, &mut report) else {
        if report.diagnostics.is_empty() {
            let help = Some("an agent file starts with `agent: <name>` and has `start:` and `nodes:`".to_owned());
            report.push(Severity::Error, start, 1, "the file is empty", help);
        }
        return Checked { agent: None, report };
    };
    let mut reader = Reader { report, templates: Templates::default(), names: BTreeSet::new(), used: BTreeSet::new() };
    let agent = read(&mut reader, &root, overrides);
    reader.report.sort();
    let failed = reader.report.errors().next().is_some();
    Checked { agent: agent.filter(|_| !failed), report: reader.report }
}

fn read(reader: &mut Reader, root: &source::Node, overrides: &[(String, String)]) -> Option<Agent> {
    let fields = reader.fields(root, "an agent file", KEYS)?;
    let names = collect_names(reader, &fields);
    let settings = read_settings(reader, &fields, overrides);
    reader.names.extend(names.variables.iter().cloned());
    reader.names.extend(settings.keys().map(|name| format!("settings.{name}")));

    let id = reader.require(&fields, "agent", "an agent file").and_then(|node| reader.text(node)).unwrap_or_default();
    let description = fields.get("description").and_then(|node| reader.text(node)).unwrap_or_default();
    let language = fields.get("language").and_then(|node| reader.text(node)).unwrap_or_else(|| "en-US".into());
    if let Some(node) = fields.get("language")
        && !language.starts_with("en")
    {
        let help = Some("use `en-US` or `en-GB`; other languages have no slot grammars".to_owned());
        reader.error(node, format!("`{language}` is not a language this agent can listen to"), help);
    }
    let timezone = fields.get("timezone").and_then(|node| reader.text(node));
    if let Some((node, zone)) = fields.get("timezone").zip(timezone.as_deref())
        && jiff::tz::TimeZone::get(zone).is_err()
    {
        reader.error(
            node,
            format!("there is no time zone `{zone}`"),
            Some("such as `Europe/Berlin` or `America/New_York`".into()),
        );
    }

    let calendars = variables::read_calendars(reader, &fields);
    let variables = variables::read_variables(reader, &fields, &names);
    let tools = services::read_tools(reader, &fields, &settings, &variables);
    let destinations = services::read_destinations(reader, &fields);
    let intents = conversation::read_intents(reader, &fields, &names);
    let phrases = conversation::read_phrases(reader, &fields);
    let understanding = conversation::read_understanding(reader, &fields);
    let retries = conversation::read_retries(reader, &fields);
    let on = conversation::read_agent_handlers(reader, &fields, &names);
    let nodes = nodes::read_nodes(reader, &fields, &names, &variables, &tools, retries);

    let bridge = bridge::read_bridge(reader, &fields, &names, &settings);
    let listening = listening::read_listening(reader, &fields);
    let speech = speech::read_speech(reader, &fields);
    let mut start = None;
    if fields.key("bridge").is_none() {
        let start_node = reader.require(&fields, "start", "an agent file");
        start = start_node.and_then(|node| reader.reference(node, "node", &names.nodes));
        reader.require(&fields, "nodes", "an agent file");
    }

    let agent = Agent {
        id,
        description,
        language,
        timezone,
        settings,
        variables,
        calendars,
        intents,
        tools,
        destinations,
        bridge,
        listening,
        speech,
        nodes,
        start: start.unwrap_or(0),
        on,
        phrases,
        thresholds: understanding.0,
        low_confidence: understanding.1,
        confirm_below: understanding.2,
        templates: reader.templates.clone(),
    };
    // Graph checks on a half-read graph would only repeat what is already said.
    if start.is_some() && reader.report.errors().next().is_none() {
        check::graph(reader, &agent);
        check::unused(reader, &agent, &fields);
    }
    if agent.bridge.is_some() {
        bridge::check_destinations(reader, &agent, &fields);
    }
    Some(agent)
}

fn collect_names(reader: &mut Reader, fields: &Fields<'_>) -> Names {
    let mut list = |section: &str, what: &str| -> Vec<String> {
        let Some(node) = fields.get(section) else { return Vec::new() };
        let Some(entries) = reader.mapping(node, &format!("`{section}`")) else { return Vec::new() };
        entries
            .iter()
            .map(|(key, _)| {
                reader.check_name(key, what);
                key.name.clone()
            })
            .collect()
    };
    Names {
        nodes: list("nodes", "a node"),
        variables: list("variables", "a variable"),
        tools: list("tools", "a tool"),
        destinations: list("destinations", "a destination"),
        intents: list("intents", "an intent"),
        calendars: list("calendars", "a calendar"),
    }
}

fn read_settings(reader: &mut Reader, fields: &Fields<'_>, overrides: &[(String, String)]) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    if let Some(entries) = fields.get("settings").and_then(|node| reader.mapping(node, "`settings`")) {
        for (key, node) in entries.iter() {
            if let Some(text) = reader.text(node) {
                settings.insert(key.name.clone(), text);
            }
        }
    }
    for (name, value) in overrides {
        if settings.contains_key(name) {
            settings.insert(name.clone(), value.clone());
        } else {
            let at = fields.key("settings").map_or(fields.at, |key| key.at);
            let help = suggestion(name, settings.keys().map(String::as_str));
            let message = format!("setting `{name}` was given from outside but is not declared under `settings:`");
            reader.report.push(Severity::Error, at, 1, message, help);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_agents_shown_in_the_documentation_are_right() {
        let documentation: String = include_str!("mod.rs")
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .map(|line| format!("{}\n", line.trim_start_matches("//! ").trim_start_matches("//!")))
            .collect();
        let blocks = documentation.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
        let whole: Vec<&str> = blocks.filter(|block| block.contains("\nnodes:")).collect();
        assert_eq!(whole.len(), 2);
        for shown in whole {
            let checked = check("shown.yaml", shown, &[]);
            assert!(checked.report.errors().next().is_none() && checked.agent.is_some(), "{}", checked.report);
        }
    }
}
