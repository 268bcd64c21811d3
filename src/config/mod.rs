//! `offhook.toml` and the SIP profiles, read into checked types with positions in every error.
//!
//! [`Config::load`] reads everything or reports **all** mistakes at once, each with file, line, column,
//! the line itself and the fix. Unknown keys are refused. Relative paths count from the file that holds
//! them. Lower rooms do not know this one: whoever starts them hands them plain values.

pub mod diagnostic;
pub mod peers;
pub mod profile;
mod providers;
mod reader;
mod recording;
mod secret;
mod sections;
mod server;

pub use diagnostic::{ConfigError, ConfigErrors};
pub use peers::{Extension, Outgoing, OwnCredentials, PeerAddress, Trunk};
pub use profile::{Questions, ReferTarget, SipProfile};
pub use recording::Recording;
pub use secret::Secret;
pub use sections::{AgentEntry, Inference, LatenessLimit, LogFormat, Logging, Media, PortRange, ToolHost, Tools};
pub use server::{Advertised, Server};

use crate::providers::registry::ProviderSpec;
use peers::{Names, Surroundings, check_overlaps};
use reader::{Reader, Table};
use secret::Secrets;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Agents that need no file and no entry under `[agents]`: `echo` sends callers their own voice back, for
/// line checks and load tests.
pub const BUILT_IN_AGENTS: [&str; 1] = ["echo"];

/// Largest configuration file that is read: a mistaken path must not fill the memory.
const FILE_BYTES: u64 = 1024 * 1024;

/// `[providers]` and every `[[provider]]`. Two are equal when their names and vendors are: keys are not compared.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    /// Each `[[provider]]`, in the order of the file.
    pub accounts: Vec<ProviderSpec>,
    /// Certificates (PEM) trusted beside the system's on the way to providers.
    pub ca_file: Option<PathBuf>,
    /// Where the audio of fixed lines is kept; `None`: nowhere.
    pub phrases: Option<Phrases>,
}

/// `phrases` of `[providers]`: lines that stand in agent files without anything to fill in are synthesised once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Phrases {
    /// The directory, for these files alone.
    pub directory: PathBuf,
    /// What it may take.
    pub octets: u64,
}

impl PartialEq for Providers {
    fn eq(&self, other: &Self) -> bool {
        let named = |spec: &ProviderSpec| (spec.name.clone(), spec.vendor.clone());
        self.ca_file == other.ca_file
            && self.phrases == other.phrases
            && self.accounts.iter().map(named).eq(other.accounts.iter().map(named))
    }
}

/// The checked configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[media]`.
    pub media: Media,
    /// `[recording]`, when calls are to be recorded.
    pub recording: Option<Recording>,
    /// `[models] dir`, when it is given.
    pub models_dir: Option<PathBuf>,
    /// `[inference]`.
    pub inference: Inference,
    /// `[agents]`, by name; [`BUILT_IN_AGENTS`] are not among them. Their files are checked by the agent compiler, not here.
    pub agents: BTreeMap<String, AgentEntry>,
    /// `[[extension]]`, in the order of the file.
    pub extensions: Vec<Extension>,
    /// `[[trunk]]`, in the order of the file.
    pub trunks: Vec<Trunk>,
    /// `[providers]` and `[[provider]]`.
    pub providers: Providers,
    /// `[tools]`.
    pub tools: Tools,
    /// `[logging]`.
    pub logging: Logging,
}

impl Config {
    /// Names of the extensions and trunks that calls of ours can go through.
    #[must_use]
    pub fn ways_out(&self) -> Vec<&str> {
        let trunks = self.trunks.iter().filter(|trunk| !trunk.gateways.is_empty());
        self.extensions.iter().map(|e| e.name.as_str()).chain(trunks.map(|trunk| trunk.name.as_str())).collect()
    }

    /// Reads a configuration file, with secrets from the process's environment.
    ///
    /// # Errors
    /// Every mistake of the file and of the profiles it names.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let unreadable =
            |message: String, fix: &str| ConfigErrors(vec![ConfigError::unreadable(path, message, fix.to_owned())]);
        let size = std::fs::metadata(path)
            .map_err(|error| unreadable(format!("cannot be read: {error}"), "check the path given with -c"))?
            .len();
        if size > FILE_BYTES {
            return Err(unreadable(format!("has {size} bytes"), "this is hardly a configuration: check the path"));
        }
        let bytes = std::fs::read(path)
            .map_err(|error| unreadable(format!("cannot be read: {error}"), "let this user read the file"))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
            let at = valid.len();
            let message = "the file is not UTF-8 text from here on".to_owned();
            ConfigErrors(vec![ConfigError::at(path, &valid, at..at, message, "save it as UTF-8".to_owned())])
        })?;
        Self::parse(path, &text, &|name| std::env::var(name).ok())
    }

    /// What weakens security in signalling, one sentence each: for the log at the start, and for whoever checks.
    #[must_use]
    pub fn dangers(&self) -> Vec<String> {
        let tls = self.extensions.iter().map(|extension| (&extension.name, &extension.tls));
        let tls = tls.chain(self.trunks.iter().map(|trunk| (&trunk.name, &trunk.tls)));
        let any_certificate = tls
            .filter(|(_, tls)| tls.as_ref().is_some_and(|tls| tls.danger_accept_any_certificate))
            .map(|(name, _)| {
                format!("`{name}` accepts any certificate: whoever sits in between reads and changes calls")
            });
        let any_host =
            self.trunks.iter().filter(|trunk| trunk.networks.iter().any(peers::address::is_wide)).map(|trunk| {
                let name = &trunk.name;
                match trunk.inbound {
                    Some(_) => format!("`{name}` challenges a large part of the internet"),
                    None => format!("`{name}` takes calls from a large part of the internet"),
                }
            });
        let profiles = self.extensions.iter().map(|extension| (&extension.name, &extension.profile));
        let profiles = profiles.chain(self.trunks.iter().map(|trunk| (&trunk.name, &trunk.profile)));
        let open_keys = profiles.filter(|(_, profile)| profile.danger_sdes_without_tls).map(|(name, _)| {
            format!("`{name}` may agree on SRTP keys without TLS: whoever reads the signalling hears the calls")
        });
        any_certificate.chain(any_host).chain(open_keys).collect()
    }

    /// Reads `text` as if it stood in `file`; `environment` looks up the variables it names.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &Path, text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let reader = Reader::new(file, text);
        let Some(document) = reader.parse() else { return reader.finish(None) };
        let base = file.parent().unwrap_or_else(|| Path::new(""));
        let root = Table::new(&reader, document.get_ref(), 0..0, "the file");

        let server =
            root.table("server", "[server]").map_or_else(|| Some(Server::default()), |t| Server::read(t, base));
        let media =
            root.table("media", "[media]").map_or_else(|| Some(Media::default()), |table| Media::read(table, base));
        let recording = root.table("recording", "[recording]").map(|table| Recording::read(table, base));
        let models_dir = root.table("models", "[models]").and_then(|table| sections::read_models(table, base));
        let inference =
            root.table("inference", "[inference]").map_or_else(|| Some(Inference::default()), Inference::read);
        let agents = sections::read_agents(root.table("agents", "[agents]"), base);
        let tools = root.table("tools", "[tools]").map_or_else(|| Some(Tools::default()), |t| Tools::read(t, base));
        let logging = root.table("logging", "[logging]").map_or_else(|| Some(Logging::default()), Logging::read);

        let secrets = Secrets { base, environment };
        let common = root.table("providers", "[providers]").map(|table| providers::read_common(table, base));
        let (ca_file, phrases) = common.unwrap_or_default();
        let accounts = providers::read(root.tables("provider", "[[provider]]"), &secrets);
        let providers = Providers { accounts, ca_file, phrases };
        let surroundings = Surroundings { base, agents: &agents, secrets: &secrets };
        let mut names = Names::default();
        let extension_tables = root.tables("extension", "[[extension]]");
        let trunk_tables = root.tables("trunk", "[[trunk]]");
        if !root.has("extension") && !root.has("trunk") {
            root.error(
                0..0,
                "there is nobody to take calls from: neither [[extension]] nor [[trunk]]",
                "add an [[extension]] to register on a PBX, or a [[trunk]] to take calls from one; `offhook connect` writes it",
            );
        }
        let extensions: Vec<_> =
            extension_tables.into_iter().filter_map(|table| surroundings.extension(table, &mut names)).collect();
        let trunks: Vec<_> =
            trunk_tables.into_iter().filter_map(|table| surroundings.trunk(table, &mut names)).collect();
        check_overlaps(&trunks, |span, message, fix| reader.error(span, message, fix));
        root.finish();

        let config = (|| {
            Some(Self {
                server: server?,
                media: media?,
                recording: recording.map_or(Some(None), |read| read.map(Some))?,
                models_dir,
                inference: inference?,
                agents: agents.clone(),
                extensions,
                trunks: trunks.into_iter().map(|trunk| trunk.value).collect(),
                providers,
                tools: tools?,
                logging: logging?,
            })
        })();
        reader.finish(config)
    }
}
