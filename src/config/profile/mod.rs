//! What is peculiar to a make of PBX or carrier, as data: `sip-profiles/*.toml`.

mod read;

use super::diagnostic::{ConfigError, ConfigErrors, nearest};
use super::reader::{Reader, Table};
use crate::call::{DigitsBy, NumberFormat, TransferBy};
use crate::sdp::{Codec, CodecPreference, Keying, SrtpPolicy};
use crate::sip::{DialogPolicy, ReliableProvisional, SessionTimer, Transport};
use ipnet::IpNet;
use std::path::Path;
use std::time::Duration;

/// The profiles that come with the program.
const BUILT_IN: [(&str, &str); 11] = [
    ("3cx", include_str!("../../../sip-profiles/3cx.toml")),
    ("asterisk", include_str!("../../../sip-profiles/asterisk.toml")),
    ("cisco", include_str!("../../../sip-profiles/cisco.toml")),
    ("freepbx", include_str!("../../../sip-profiles/freepbx.toml")),
    ("freeswitch", include_str!("../../../sip-profiles/freeswitch.toml")),
    ("generic", include_str!("../../../sip-profiles/generic.toml")),
    ("signalwire", include_str!("../../../sip-profiles/signalwire.toml")),
    ("telnyx", include_str!("../../../sip-profiles/telnyx.toml")),
    ("twilio", include_str!("../../../sip-profiles/twilio.toml")),
    ("vonage", include_str!("../../../sip-profiles/vonage.toml")),
    ("yeastar", include_str!("../../../sip-profiles/yeastar.toml")),
];
/// Longest chain of `inherits`: a file that inherits from itself must end.
const GENERATIONS: usize = 8;
/// Shortest REGISTER expiry asked for: below it a registrar answers 423 (RFC 3261 section 10.3).
pub(super) const EXPIRES_MIN: Duration = Duration::from_secs(60);
/// Longest REGISTER expiry asked for: a day without a sign of life is too long for a telephone.
pub(super) const EXPIRES_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How to behave toward one make of peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SipProfile {
    /// Its name, or the path of its file.
    pub name: String,
    /// `auth_user`: whether the digest user name always differs from the extension, so that leaving it out is a mistake.
    pub auth_user_required: bool,
    /// `register`: whether the peer takes REGISTER at all.
    pub takes_registrations: bool,
    /// The expiry asked for in REGISTER.
    pub register_expires: Duration,
    /// The transport towards the peer where its address names none; `None` leaves it to DNS, else UDP.
    pub transport: Option<Transport>,
    /// The port where its address names none; `None` leaves it to DNS, else 5060 or 5061.
    pub port: Option<u16>,
    /// Codecs in order of preference.
    pub codecs: Vec<Codec>,
    /// Whose order of codecs decides when we answer.
    pub codec_preference: CodecPreference,
    /// Whether media is encrypted.
    pub srtp: SrtpPolicy,
    /// How its keys are agreed, best first.
    pub keying: Vec<Keying>,
    /// Whether keys may be agreed over signalling without TLS.
    pub danger_sdes_without_tls: bool,
    /// Session timers; `None` leaves them to the peer.
    pub session_timer: Option<SessionTimer>,
    /// Reliable provisional responses.
    pub reliable_provisional: ReliableProvisional,
    /// The form of a transfer target in Refer-To.
    pub refer_target: ReferTarget,
    /// Whether a REFER carries Diversion with the number that was called.
    pub refer_diversion: bool,
    /// How calls are handed over.
    pub transfer: TransferBy,
    /// Whether the peer may make us dial.
    pub accept_refer: bool,
    /// Whether a call of the peer may take over another one.
    pub accept_replaces: bool,
    /// The header of a REFER or INVITE that carries the context of a transfer; `None` sends none.
    pub context_header: Option<String>,
    /// How digits arrive from the peer.
    pub dtmf: DigitsBy,
    /// How often a keep-alive goes to the registrar or gateway, to keep a NAT binding open; `None` sends none.
    pub keep_alive: Option<Duration>,
    /// User-Agent and Server header; `None` sends neither.
    pub user_agent: Option<String>,
    /// How numbers are written in calls to the peer.
    pub number_format: NumberFormat,
    /// Whether calls carry P-Asserted-Identity.
    pub assert_identity: bool,
    /// Headers of its INVITEs that become variables of the call.
    pub header_variables: Vec<String>,
    /// Where its requests come from, unless the trunk says otherwise.
    pub source_networks: Vec<IpNet>,
    /// How a gateway is made out of the answer to `questions.host`, which `{host}` stands for.
    pub gateway_template: Option<String>,
    /// A number that sends the caller's voice back, for line checks.
    pub echo_number: Option<String>,
    /// What `offhook connect` asks for.
    pub questions: Questions,
    /// What has to be set on the peer's side, one sentence each.
    pub notes: Vec<String>,
}

/// The form of a transfer target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReferTarget {
    /// `sip:200@pbx.example`.
    Sip,
    /// `tel:+15550134` (RFC 3966).
    Tel,
}

/// The wording of what `offhook connect` asks for; what has none is not asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Questions {
    /// Registrar, domain or gateway.
    pub host: Option<String>,
    /// Extension or account.
    pub user: Option<String>,
    /// Authentication ID.
    pub auth_user: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Main number of a trunk.
    pub number: Option<String>,
}

impl Default for SipProfile {
    /// The generic profile, as its file has it.
    fn default() -> Self {
        Self::built_in("generic").unwrap_or_else(|| Self::blank("generic"))
    }
}

impl SipProfile {
    /// Names of the profiles that come with the program, sorted.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The file of a profile that comes with the program, with the reason of every line.
    #[must_use]
    pub fn built_in_text(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// A profile that comes with the program.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        Self::from_text(Path::new(&format!("{name}.toml")), name, Self::built_in_text(name)?, 0).ok()
    }

    /// What calls with the peer may do.
    #[must_use]
    pub fn dialog(&self) -> DialogPolicy {
        DialogPolicy {
            accept_refer: self.accept_refer,
            accept_replaces: self.accept_replaces,
            session_timer: self.session_timer,
            reliable_provisional: self.reliable_provisional,
        }
    }

    /// Reads the profile of an extension or trunk: a built-in name, or a file path ending in `.toml`
    /// relative to `base`.
    ///
    /// # Errors
    /// `Err(None)` when there is no built-in profile of that name; `Err(Some(_))` for mistakes in a file.
    pub fn load(name: &str, base: &Path) -> Result<Self, Option<ConfigErrors>> {
        Self::load_generation(name, base, 0)
    }

    /// Tells which name was probably meant, for the message about an unknown one.
    #[must_use]
    pub fn unknown_name_fix(name: &str) -> String {
        nearest(name, Self::built_in_names()).map_or_else(
            || {
                let all = Self::built_in_names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
                format!("write one of {all}, or the path of a .toml file")
            },
            |right| format!("write \"{right}\""),
        )
    }

    /// This profile with the keys of an `overrides` table instead of its own.
    pub(super) fn overridden(self, table: Table<'_, '_>) -> Self {
        let profile = read::overlaid(self, &table);
        table.finish();
        profile
    }

    fn load_generation(name: &str, base: &Path, generation: usize) -> Result<Self, Option<ConfigErrors>> {
        if let Some(text) = Self::built_in_text(name) {
            return Self::from_text(Path::new(&format!("{name}.toml")), name, text, generation).map_err(Some);
        }
        if !name.ends_with(".toml") {
            return Err(None);
        }
        let path = base.join(name);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let message = format!("the profile cannot be read: {error}");
            let fix = "check the path, which is relative to the file that names it".to_owned();
            Some(ConfigErrors(vec![ConfigError::unreadable(&path, message, fix)]))
        })?;
        Self::from_text(&path, name, &text, generation).map_err(Some)
    }

    fn from_text(file: &Path, name: &str, text: &str, generation: usize) -> Result<Self, ConfigErrors> {
        let reader = Reader::new(file, text);
        let Some(document) = reader.parse() else { return reader.finish(None) };
        let table = Table::new(&reader, document.get_ref(), 0..0, "a profile");
        let base = file.parent().unwrap_or_else(|| Path::new(""));
        let parent = match table.text("inherits") {
            None => read::check_complete(&table).then(|| Self::blank(name)),
            Some(parent) if generation >= GENERATIONS => {
                reader.error(
                    parent.span.clone(),
                    format!("`inherits` goes on for more than {GENERATIONS} profiles"),
                    "do not let a profile inherit from itself",
                );
                None
            }
            Some(parent) => match Self::load_generation(&parent.value, base, generation + 1) {
                Ok(parent) => Some(parent),
                Err(Some(errors)) => {
                    reader.take_over(errors);
                    None
                }
                Err(None) => {
                    let message = format!("there is no profile `{}`", parent.value);
                    reader.error(parent.span.clone(), message, Self::unknown_name_fix(&parent.value));
                    None
                }
            },
        };
        // Without a parent this file's own mistakes are still worth reporting.
        let found = parent.is_some();
        let profile = read::overlaid(parent.unwrap_or_else(|| Self::blank(name)), &table);
        table.finish();
        reader.finish(found.then(|| Self { name: name.to_owned(), ..profile }))
    }

    /// What a profile without parent starts from, before its own keys.
    fn blank(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            auth_user_required: false,
            takes_registrations: true,
            register_expires: Duration::from_secs(600),
            transport: None,
            port: None,
            codecs: Codec::G711.to_vec(),
            codec_preference: CodecPreference::Theirs,
            srtp: SrtpPolicy::Off,
            keying: vec![Keying::Sdes],
            danger_sdes_without_tls: false,
            session_timer: Some(SessionTimer::default()),
            reliable_provisional: ReliableProvisional::default(),
            refer_target: ReferTarget::Sip,
            refer_diversion: false,
            transfer: TransferBy::default(),
            accept_refer: false,
            accept_replaces: false,
            context_header: None,
            dtmf: DigitsBy::default(),
            keep_alive: None,
            user_agent: None,
            number_format: NumberFormat::AsDialled,
            assert_identity: false,
            header_variables: Vec::new(),
            source_networks: Vec::new(),
            gateway_template: None,
            echo_number: None,
            questions: Questions::default(),
            notes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_reads_and_inherits_what_it_leaves_out() {
        for name in SipProfile::built_in_names() {
            let profile = SipProfile::load(name, Path::new("")).unwrap_or_else(|e| panic!("{name}: {}", e.unwrap()));
            assert_eq!(profile.name, name);
            assert!(profile.codecs.contains(&Codec::Pcmu) && profile.codecs.contains(&Codec::Pcma), "{name}");
            assert!(!profile.accept_refer && !profile.accept_replaces && !profile.danger_sdes_without_tls, "{name}");
            assert_ne!(profile.srtp, SrtpPolicy::Required, "{name}: a peer as it is delivered takes plain calls");
            assert!(profile.questions.host.is_some(), "{name} is asked for its host");
        }
        assert!(SipProfile::built_in("3cx").unwrap().auth_user_required);
        let freepbx = SipProfile::built_in("freepbx").unwrap();
        assert_eq!(freepbx.register_expires, Duration::from_secs(120), "its own");
        assert_eq!(freepbx.context_header.as_deref(), Some("X-Offhook-Context"), "from asterisk");
        assert_eq!(freepbx.dtmf, DigitsBy::Rfc4733, "from generic");
        assert_eq!(freepbx.questions.auth_user, None, "asterisk asks, freepbx does not");
        assert_eq!(SipProfile::built_in("avaya"), None);
    }

    #[test]
    fn every_line_of_a_built_in_profile_has_its_reason() {
        // A key without a comment above it needs one, unless the line before it had one for both.
        for (name, text) in BUILT_IN {
            let mut explained = false;
            let mut section = false;
            for line in text.lines() {
                if line.starts_with('#') {
                    explained = true;
                } else if line.trim().is_empty() {
                    explained = false;
                } else if line.starts_with('[') {
                    section = true;
                }
                let key = line.split_once(" = ").map_or("", |(key, _)| key);
                let speaks_for_itself =
                    ["notes", "header_variables", ""].contains(&key) || key.starts_with([' ', '"', '#']);
                assert!(section || explained || speaks_for_itself, "{name}: {line}");
            }
        }
    }

    #[test]
    fn a_file_overrides_its_parent_and_can_switch_a_feature_off() {
        let text = "inherits = \"freepbx\"\ncodecs = [\"pcma\"]\nuser_agent = \"none\"\ncontext_header = \"none\"\n";
        let profile = SipProfile::from_text(Path::new("mine.toml"), "mine.toml", text, 0).unwrap();
        assert_eq!((profile.codecs, profile.user_agent), (vec![Codec::Pcma], None));
        assert_eq!(profile.context_header, None);
        assert_eq!(profile.register_expires, Duration::from_secs(120));
    }

    #[test]
    fn mistakes_in_a_profile_have_positions_and_fixes() {
        for (text, line, column, part, fix) in [
            ("inherits = \"freepbxx\"", 1, 12, "no profile `freepbxx`", "\"freepbx\""),
            ("dtmf = \"rfc4733\"", 1, 1, "no `auth_user`", "inherits"),
            ("inherits = \"generic\"\nsession_timer = \"on\"", 2, 17, "a table is wanted", "table"),
            ("inherits = \"generic\"\nsession_timer = { expires = \"60s\" }", 2, 29, "outside 90s to 24h", "90s"),
            (
                "inherits = \"generic\"\nsession_timer = { expires = \"2m\", min_se = \"3m\" }",
                2,
                17,
                "shorter",
                "min_se",
            ),
            ("inherits = \"generic\"\ngateway_template = \"x.example\"", 2, 20, "{host}", "{host}"),
            ("inherits = \"generic\"\nsource_networks = [\"192.0.2.1/24\"]", 2, 20, "beyond", "192.0.2.0/24"),
            ("inherits = \"generic\"\ntransport = \"sctp\"", 2, 13, "known are", "\"tls\""),
            ("inherits = \"generic\"\nkeep_alive = \"1s\"", 2, 14, "outside 10s", "10s"),
            ("inherits = \"generic\"\ndtmf = \"rfc2833\"", 2, 8, "known are", "\"rfc4733\""),
            ("inherits = \"generic\"\ncodecs = [\"PCMU\", \"G729\"]", 2, 19, "no codec `G729`", "\"G722\""),
            ("inherits = \"generic\"\ncodec_preference = \"mine\"", 2, 20, "known are", "\"ours\""),
            ("inherits = \"generic\"\nsrtp = true", 2, 8, "is true", "write \"required\""),
            ("inherits = \"generic\"\nsrtp = false", 2, 8, "is false", "write \"off\""),
            ("inherits = \"generic\"\nsrtp = \"optional\"", 2, 8, "known are", "\"preferred\""),
            ("inherits = \"generic\"\nkeying = \"zrtp\"", 2, 10, "not a way to agree on keys", "\"sdes\""),
            ("inherits = \"generic\"\nkeying = [\"sdes\", \"sdes\"]", 2, 19, "twice", "remove"),
            ("inherits = \"generic\"\nkeying = []", 2, 1, "empty", "\"sdes\""),
            (
                "inherits = \"generic\"\nsrtp = \"off\"\ndanger_sdes_without_tls = true",
                3,
                1,
                "no effect",
                "srtp = \"preferred\"",
            ),
            ("inherits = \"generic\"\ncodecs = []", 2, 1, "empty", "PCMU"),
            ("inherits = \"generic\"\ncodecs = [\"PCMU\", \"PCMU\"]", 2, 19, "twice", "remove"),
            ("inherits = \"generic\"\nregister_expires = \"5s\"", 2, 20, "outside 1m to 24h", "1m to 24h"),
            ("inherits = \"generic\"\ncontext_header = \"X: y\"", 2, 18, "not a header name", "letters"),
            ("inherits = \"generic\"\nuser_agent = \"a\\r\\nb\"", 2, 14, "not printable", "ASCII"),
            ("inherits = \"generic\"\nrefer = \"sip\"", 2, 1, "no key `refer`", "known here"),
        ] {
            let errors = SipProfile::from_text(Path::new("p.toml"), "p.toml", text, 0).unwrap_err();
            let error = &errors.0[0];
            assert_eq!((error.line, error.column), (line, column), "{errors}");
            assert!(error.message.contains(part) && error.fix.contains(fix), "{errors}");
        }
    }

    #[test]
    fn a_profile_that_inherits_from_itself_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("loop.toml"), "inherits = \"loop.toml\"").unwrap();
        let errors = SipProfile::load("loop.toml", folder.path()).unwrap_err().unwrap();
        assert!(errors.0[0].message.contains("goes on"), "{errors}");
    }
}
