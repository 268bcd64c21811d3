//! What is peculiar to a make of PBX or carrier, as data: `sip-profiles/*.toml`.

use super::diagnostic::{ConfigError, ConfigErrors, nearest};
use super::reader::{Located, Reader, Table};
use std::path::Path;
use std::time::Duration;

/// The profiles that come with the program.
const BUILT_IN: [(&str, &str); 5] = [
    ("3cx", include_str!("../../sip-profiles/3cx.toml")),
    ("asterisk", include_str!("../../sip-profiles/asterisk.toml")),
    ("freepbx", include_str!("../../sip-profiles/freepbx.toml")),
    ("generic", include_str!("../../sip-profiles/generic.toml")),
    ("yeastar", include_str!("../../sip-profiles/yeastar.toml")),
];
/// Longest chain of `inherits`: a file that inherits from itself must end.
const GENERATIONS: usize = 8;
/// Shortest REGISTER expiry asked for: below it a registrar answers 423 (RFC 3261 section 10.3).
const EXPIRES_MIN: Duration = Duration::from_secs(60);
/// Longest REGISTER expiry asked for: a day without a sign of life is too long for a telephone.
const EXPIRES_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How to behave toward one make of peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SipProfile {
    /// Its name, or the path of its file.
    pub name: String,
    /// Whether the digest user name always differs from the extension, so that leaving it out is a mistake.
    pub auth_user_required: bool,
    /// The expiry asked for in REGISTER.
    pub register_expires: Duration,
    /// Codecs in order of preference.
    pub codecs: Vec<ProfileCodec>,
    /// The form of a transfer target in Refer-To.
    pub refer_target: ReferTarget,
    /// The header of a REFER or INVITE that carries the context of a transfer; `None` sends none.
    pub context_header: Option<String>,
    /// How digits arrive from the peer.
    pub dtmf: DtmfMode,
    /// User-Agent and Server header; `None` sends neither.
    pub user_agent: Option<String>,
}

/// A codec by its name in SDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProfileCodec {
    /// G.711 A-law.
    Pcma,
    /// G.711 µ-law.
    Pcmu,
}

/// The form of a transfer target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReferTarget {
    /// `sip:200@pbx.example`.
    Sip,
    /// `tel:+15550134` (RFC 3966).
    Tel,
}

/// How digits arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DtmfMode {
    /// SIP INFO with `application/dtmf-relay` or `application/dtmf`.
    Info,
    /// RTP telephone-events (RFC 4733).
    Rfc4733,
}

/// A profile file before its ancestors have filled the gaps.
#[derive(Default)]
struct Partial {
    inherits: Option<Located<String>>,
    auth_user_required: Option<bool>,
    register_expires: Option<Duration>,
    codecs: Option<Vec<ProfileCodec>>,
    refer_target: Option<ReferTarget>,
    context_header: Option<Option<String>>,
    dtmf: Option<DtmfMode>,
    user_agent: Option<Option<String>>,
}

impl Default for SipProfile {
    /// The generic profile, as its file has it.
    fn default() -> Self {
        Self::built_in("generic").unwrap_or_else(|| Self {
            name: "generic".to_owned(),
            auth_user_required: false,
            register_expires: Duration::from_secs(600),
            codecs: vec![ProfileCodec::Pcmu, ProfileCodec::Pcma],
            refer_target: ReferTarget::Sip,
            context_header: None,
            dtmf: DtmfMode::Rfc4733,
            user_agent: None,
        })
    }
}

impl SipProfile {
    /// Names of the profiles that come with the program, sorted.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// A profile that comes with the program.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Self::from_text(Path::new(&format!("{name}.toml")), name, text, 0).ok()
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

    fn load_generation(name: &str, base: &Path, generation: usize) -> Result<Self, Option<ConfigErrors>> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
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
        let own = Partial::read(Table::new(&reader, document.get_ref(), 0..0, "a profile"));
        let base = file.parent().unwrap_or_else(|| Path::new(""));
        let parent = match &own.inherits {
            None => None,
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
        let profile = own.over(parent, name, &reader);
        reader.finish(profile)
    }
}

impl Partial {
    fn read(table: Table<'_, '_>) -> Self {
        // "none" switches off what a parent has switched on.
        fn none_or(
            table: &Table<'_, '_>,
            key: &'static str,
            wanted: &str,
            read: fn(&str) -> Option<String>,
        ) -> Option<Option<String>> {
            if table.holds(key, "none") {
                Some(None)
            } else {
                table.read(key, wanted, read).map(|text| Some(text.value))
            }
        }
        let partial = Self {
            inherits: table.text("inherits"),
            auth_user_required: table
                .choice("auth_user", &[("optional", false), ("required", true)])
                .map(|required| required.value),
            register_expires: table.duration("register_expires", EXPIRES_MIN..=EXPIRES_MAX),
            codecs: read_codecs(&table),
            refer_target: table
                .choice("refer_target", &[("sip", ReferTarget::Sip), ("tel", ReferTarget::Tel)])
                .map(|form| form.value),
            context_header: none_or(
                &table,
                "context_header",
                "a header name of letters, digits and hyphens, or \"none\"",
                header_name,
            ),
            dtmf: table
                .choice("dtmf", &[("info", DtmfMode::Info), ("rfc4733", DtmfMode::Rfc4733)])
                .map(|mode| mode.value),
            user_agent: none_or(
                &table,
                "user_agent",
                "printable ASCII of at most 64 characters, or \"none\"",
                printable,
            ),
        };
        table.finish();
        partial
    }

    /// Fills the gaps from the parent. Without a parent every gap is a mistake.
    fn over(self, parent: Option<SipProfile>, name: &str, reader: &Reader<'_>) -> Option<SipProfile> {
        let base = match (parent, &self.inherits) {
            (Some(parent), _) => parent,
            // The parent's mistakes are reported already.
            (None, Some(_)) => return None,
            (None, None) => {
                let gap = [
                    ("auth_user", self.auth_user_required.is_none()),
                    ("register_expires", self.register_expires.is_none()),
                    ("codecs", self.codecs.is_none()),
                    ("refer_target", self.refer_target.is_none()),
                    ("dtmf", self.dtmf.is_none()),
                ];
                if let Some((key, _)) = gap.iter().find(|(_, missing)| *missing) {
                    reader.error(
                        0..0,
                        format!("the profile inherits from nothing and has no `{key}`"),
                        "add `inherits = \"generic\"` as the first line",
                    );
                    return None;
                }
                SipProfile {
                    name: String::new(),
                    auth_user_required: false,
                    register_expires: EXPIRES_MIN,
                    codecs: Vec::new(),
                    refer_target: ReferTarget::Sip,
                    context_header: None,
                    dtmf: DtmfMode::Rfc4733,
                    user_agent: None,
                }
            }
        };
        Some(SipProfile {
            name: name.to_owned(),
            auth_user_required: self.auth_user_required.unwrap_or(base.auth_user_required),
            register_expires: self.register_expires.unwrap_or(base.register_expires),
            codecs: self.codecs.unwrap_or(base.codecs),
            refer_target: self.refer_target.unwrap_or(base.refer_target),
            context_header: self.context_header.unwrap_or(base.context_header),
            dtmf: self.dtmf.unwrap_or(base.dtmf),
            user_agent: self.user_agent.unwrap_or(base.user_agent),
        })
    }
}

fn read_codecs(table: &Table<'_, '_>) -> Option<Vec<ProfileCodec>> {
    let names = table.texts("codecs")?;
    let mut codecs = Vec::new();
    for name in names {
        let codec = match name.value.to_ascii_uppercase().as_str() {
            "PCMA" => ProfileCodec::Pcma,
            "PCMU" => ProfileCodec::Pcmu,
            _ => {
                let message = format!("there is no codec `{}`", name.value);
                table.error(name.span, message, "write \"PCMU\" or \"PCMA\"");
                continue;
            }
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

fn header_name(text: &str) -> Option<String> {
    let good = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    good.then(|| text.to_owned())
}

fn printable(text: &str) -> Option<String> {
    (text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_reads_and_inherits_what_it_leaves_out() {
        for name in SipProfile::built_in_names() {
            let profile = SipProfile::built_in(name)
                .unwrap_or_else(|| panic!("{name}: {}", SipProfile::load(name, Path::new("")).unwrap_err().unwrap()));
            assert_eq!(profile.name, name);
            assert_eq!(profile.codecs, [ProfileCodec::Pcmu, ProfileCodec::Pcma], "{name}");
        }
        assert!(SipProfile::built_in("3cx").unwrap().auth_user_required);
        let freepbx = SipProfile::built_in("freepbx").unwrap();
        assert_eq!(freepbx.register_expires, Duration::from_secs(120), "its own");
        assert_eq!(freepbx.context_header.as_deref(), Some("X-Offhook-Context"), "from asterisk");
        assert_eq!(freepbx.dtmf, DtmfMode::Rfc4733, "from generic");
        assert_eq!(SipProfile::built_in("avaya"), None);
    }

    #[test]
    fn a_file_overrides_its_parent_and_can_switch_a_feature_off() {
        let text = "inherits = \"freepbx\"\ncodecs = [\"pcma\"]\nuser_agent = \"none\"\ncontext_header = \"none\"\n";
        let profile = SipProfile::from_text(Path::new("mine.toml"), "mine.toml", text, 0).unwrap();
        assert_eq!((profile.codecs, profile.user_agent), (vec![ProfileCodec::Pcma], None));
        assert_eq!(profile.context_header, None);
        assert_eq!(profile.register_expires, Duration::from_secs(120));
    }

    #[test]
    fn mistakes_in_a_profile_have_positions_and_fixes() {
        for (text, line, column, part, fix) in [
            ("inherits = \"freepbxx\"", 1, 12, "no profile `freepbxx`", "\"freepbx\""),
            ("dtmf = \"rfc4733\"", 1, 1, "no `auth_user`", "inherits"),
            ("inherits = \"generic\"\ndtmf = \"rfc2833\"", 2, 8, "known are", "\"rfc4733\""),
            ("inherits = \"generic\"\ncodecs = [\"PCMU\", \"opus\"]", 2, 19, "no codec `opus`", "PCMU"),
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
