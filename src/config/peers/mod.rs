//! `[[extension]]` and `[[trunk]]`: whom we register with, who may send us calls, and where ours go.

pub mod address;
mod extension;
mod outgoing;
mod trunk;

use super::BUILT_IN_AGENTS;
use super::diagnostic::nearest;
use super::profile::SipProfile;
use super::reader::{Located, Table};
use super::secret::Secrets;
use crate::net::{ClientTls, TlsIdentity};
use crate::sdp::{Keying, SrtpPolicy};
use crate::sip::Transport;
use address::NAME_CHARS;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use address::PeerAddress;
pub use extension::Extension;
pub use outgoing::Outgoing;
pub(super) use trunk::check_overlaps;
pub use trunk::{OwnCredentials, Trunk};

/// How long callers may be left ringing: shorter is no ring, longer loses callers.
const RING_MIN: Duration = Duration::from_millis(500);
const RING_MAX: Duration = Duration::from_secs(30);

/// Names given so far, with the line each stands on.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, usize>);

impl Names {
    fn read(&mut self, table: &Table<'_, '_>, example: &str) -> Option<String> {
        let name = table.required("name", example)?;
        if !is_name(&name.value) {
            let message = format!("`{}` is not a good name", name.value);
            table.error(name.span, message, "use letters, digits, `-`, `_` and `.`, 64 at most");
            return None;
        }
        let line = table.reader().line(&name.span);
        if let Some(first) = self.0.insert(name.value.clone(), line) {
            let message = format!("the name `{}` is taken by line {first}", name.value);
            table.error(name.span, message, "give each extension and trunk a name of its own");
        }
        Some(name.value)
    }
}

/// Whether an extension or trunk may be called this.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_CHARS
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// What extensions and trunks refer to.
pub(super) struct Surroundings<'s> {
    pub base: &'s Path,
    pub agents: &'s BTreeMap<String, super::AgentEntry>,
    pub secrets: &'s Secrets<'s>,
}

impl Surroundings<'_> {
    fn agent(&self, table: &Table<'_, '_>) -> Option<String> {
        let example = self.agents.keys().next().map_or_else(|| "\"clinic\"".to_owned(), |name| format!("\"{name}\""));
        let agent = table.required("agent", &example)?;
        if self.agents.contains_key(&agent.value) || BUILT_IN_AGENTS.contains(&agent.value.as_str()) {
            return Some(agent.value);
        }
        let fix = nearest(&agent.value, self.agents.keys().map(String::as_str).chain(BUILT_IN_AGENTS)).map_or_else(
            || format!("add `{} = \"{}.yaml\"` under [agents]", agent.value, agent.value),
            |right| format!("write \"{right}\""),
        );
        table.error(agent.span, format!("there is no agent `{}`", agent.value), fix);
        None
    }

    /// The profile with the overrides of this extension or trunk.
    /// The file of what callers hear before they are answered. They either hear it or their phone rings.
    fn announcement(&self, table: &Table<'_, '_>) -> Option<PathBuf> {
        let file = table.text("announcement")?;
        if table.has("ring") {
            table.error(file.span, "`announcement` and `ring` exclude each other", "keep one of them");
            return None;
        }
        Some(self.base.join(file.value))
    }

    fn profile(&self, table: &Table<'_, '_>) -> Option<Located<SipProfile>> {
        let loaded = match table.text("profile") {
            None => Some(Located { value: SipProfile::default(), span: table.span() }),
            Some(name) => match SipProfile::load(&name.value, self.base) {
                Ok(profile) => Some(Located { value: profile, span: name.span }),
                Err(Some(errors)) => {
                    table.reader().take_over(errors);
                    None
                }
                Err(None) => {
                    let fix = SipProfile::unknown_name_fix(&name.value);
                    table.error(name.span, format!("there is no profile `{}`", name.value), fix);
                    None
                }
            },
        };
        let overrides = table.table("overrides", "overrides");
        let mut profile = match (loaded, overrides) {
            (Some(loaded), Some(overrides)) => Located { value: loaded.value.overridden(overrides), span: loaded.span },
            (loaded, _) => loaded?,
        };
        // The keys that people look for in the section itself.
        let own = &mut profile.value;
        own.accept_refer = table.boolean("accept_refer").unwrap_or(own.accept_refer);
        own.accept_replaces = table.boolean("accept_replaces").unwrap_or(own.accept_replaces);
        own.assert_identity = table.boolean("assert_identity").unwrap_or(own.assert_identity);
        for name in address::header_names(table, "header_variables").unwrap_or_default() {
            if own.header_variables.iter().all(|known| !known.eq_ignore_ascii_case(&name)) {
                own.header_variables.push(name);
            }
        }
        if let Some(transport) = table.choice("transport", &address::TRANSPORTS) {
            own.transport = Some(transport.value);
        }
        let keys_in_clear = own.keying == [Keying::Sdes] && !own.danger_sdes_without_tls;
        let never_tls = matches!(own.transport, Some(Transport::Tcp | Transport::Udp));
        if own.srtp == SrtpPolicy::Required && keys_in_clear && never_tls {
            let message =
                format!("`{}` requires SRTP, but its keys would travel in clear: signalling is not TLS", own.name);
            let fix = "set `transport = \"tls\"`, or `keying = \"dtls\"` where the peer does DTLS-SRTP";
            let at = if table.has("overrides") { table.key_span("overrides") } else { profile.span.clone() };
            table.error(at, message, fix);
        }
        Some(profile)
    }

    /// `tls = { … }`: how we verify the peer and what we show it.
    fn tls(&self, table: &Table<'_, '_>) -> Option<ClientTls> {
        let tls = table.table("tls", "tls")?;
        let certificate = tls.text("certificate");
        let key = tls.text("key");
        let identity = match (&certificate, &key) {
            (Some(certificate), Some(key)) => Some(TlsIdentity {
                certificate_file: self.base.join(&certificate.value),
                key_file: self.base.join(&key.value),
            }),
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => {
                let fix = "give both, or neither: both are PEM files of our own, for peers that ask for a certificate";
                tls.error(one.span.clone(), "`certificate` and `key` go together", fix);
                None
            }
        };
        let found = ClientTls {
            ca_file: tls.text("ca").map(|file| self.base.join(file.value)),
            identity,
            server_name: address::domain(&tls, "server_name"),
            danger_accept_any_certificate: tls.switch("danger_accept_any_certificate"),
        };
        if found.danger_accept_any_certificate && found.ca_file.is_some() {
            let fix = "remove `danger_accept_any_certificate`";
            tls.error(tls.key_span("ca"), "`ca` has no effect: any certificate is accepted", fix);
        }
        tls.finish();
        Some(found)
    }
}
