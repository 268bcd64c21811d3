//! What an agent file says about a bot outside: `bridge:` in place of a flow. Only data: `call/bot` holds the call.

use super::tool::HeaderText;
use crate::base::SampleRate;
use std::path::PathBuf;
use std::time::Duration;

/// How long a connection may take, unless the file says otherwise: the caller waits.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Caller audio kept while the bot is away or slow, unless the file says otherwise.
pub const BUFFER: Duration = Duration::from_secs(5);
/// Audio of the bot that may wait to be heard, unless the file says otherwise: bots hand over whole answers at once.
pub const QUEUE: Duration = Duration::from_secs(60);
/// Attempts to reach a bot again after its connection broke, unless the file says otherwise.
pub const RECONNECTS: u32 = 3;

/// A bot that talks to the caller over a WebSocket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bridge {
    /// `ws://` or `wss://`, with settings filled in. The host comes from the file, never from a call.
    pub url: String,
    /// What the bot speaks.
    pub protocol: BridgeProtocol,
    /// The encoding of audio: of Twilio always µ-law.
    pub encoding: BridgeEncoding,
    /// The rate of audio: of Twilio always 8 kHz.
    pub rate: SampleRate,
    /// Header fields of the request that opens the connection.
    pub headers: Vec<(String, HeaderText)>,
    /// The key of `X-Twilio-Signature`; `None` signs nothing.
    pub signed_by: Option<HeaderText>,
    /// What a Twilio bot sees as `accountSid`; `None` makes one up.
    pub account_sid: Option<String>,
    /// Named values for the bot; each is a template over `call` and `settings`.
    pub parameters: Vec<(String, String)>,
    /// Header fields of the call's INVITE (or its 200) that become `call.sip_<name>` and parameters of that name.
    pub sip_headers: Vec<String>,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// Caller audio kept while the bot is away or slow; older audio is dropped.
    pub buffer: Duration,
    /// Audio of the bot that may wait to be heard; more is dropped.
    pub queue: Duration,
    /// Attempts to reach the bot again after its connection broke.
    pub reconnects: u32,
    /// The caller's voice silences the bot at once, without its asking.
    pub barge_in: bool,
    /// What follows when the bot has done its part.
    pub when_done: BridgeEnd,
    /// What the caller hears when the bot cannot be reached.
    pub fallback: Fallback,
}

/// The protocol of a bot; `docs/bridge.md` has both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BridgeProtocol {
    /// Offhook's own: binary audio, JSON for the rest.
    Lean,
    /// Twilio Media Streams.
    Twilio,
}

impl BridgeProtocol {
    /// Every protocol with its name in the agent file.
    pub const NAMES: [(&'static str, Self); 2] = [("lean", Self::Lean), ("twilio", Self::Twilio)];

    /// Its name there.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lean => "lean",
            Self::Twilio => "twilio",
        }
    }
}

/// How samples stand on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BridgeEncoding {
    /// G.711 µ-law.
    Mulaw,
    /// 16-bit linear, little-endian.
    Pcm16,
}

impl BridgeEncoding {
    /// Every encoding with its name in the agent file.
    pub const NAMES: [(&'static str, Self); 2] = [("mulaw", Self::Mulaw), ("pcm16", Self::Pcm16)];
}

/// How a call goes on without its bot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum BridgeEnd {
    /// It ends.
    #[default]
    Hangup,
    /// It is handed to this destination, by its place in [`super::Agent::destinations`].
    Transfer(usize),
}

/// What a caller hears when the bot cannot be reached, and what follows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fallback {
    /// What is heard.
    pub line: FallbackLine,
    /// What follows.
    pub then: BridgeEnd,
}

/// What a caller hears when the bot cannot be reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum FallbackLine {
    /// These words, by Offhook's own voice.
    Say(String),
    /// A few beeps: what a telephone says when nobody is there.
    #[default]
    Tone,
    /// A WAV file. A relative path is seen from the agent file.
    Wav(PathBuf),
}
