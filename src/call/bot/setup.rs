//! A bot, ready to be called: what its agent file says, checked and with its secrets.

use super::connect::{ConnectError, connect};
use super::socket::Socket;
use crate::agent::Agent;
use crate::agent::bridge::{Bridge, BridgeEncoding, BridgeProtocol, FallbackLine};
use crate::agent::template::Scope;
use crate::audio::wav;
use crate::base::{Pii, Random, SampleRate};
use crate::call::fallback::{AgentVoice, beeps};
use crate::providers::TextToSpeech;
use crate::providers::bot::{AudioFormat, Encoding, Lean, Twilio, Wire, base64_of};
use crate::tools::egress::HostResolver;
use crate::tools::set::{header, header_text};
use crate::tools::{EgressPolicy, ToolProblem};
use hmac::{Hmac, KeyInit, Mac};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha1::Sha1;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

/// Where a bot is told which of its accounts calls it.
const SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-signature");

/// What a bot needs from the server.
pub struct BotSurroundings<'s> {
    /// Where connections may go.
    pub policy: EgressPolicy,
    /// Where names become addresses.
    pub resolver: Arc<dyn HostResolver>,
    /// PEM certificates trusted beside the system's.
    pub extra_roots: &'s [u8],
    /// Where secrets are looked up.
    pub environment: &'s dyn Fn(&str) -> Option<String>,
    /// Speaks the fallback and what the bot wants said, at this pace unless the agent's file names another; `None` where
    /// no voice is loaded.
    pub voice: Option<(Arc<dyn TextToSpeech>, f32)>,
}

/// A bot that takes calls. Made once and shared by all its calls.
pub struct BotSetup {
    /// The checked agent file.
    pub agent: Arc<Agent>,
    pub(super) bridge: Bridge,
    pub(super) url: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) policy: EgressPolicy,
    pub(super) resolver: Arc<dyn HostResolver>,
    pub(super) voice: Option<AgentVoice>,
    /// What the caller hears when the bot cannot be reached; 8 kHz.
    pub(super) fallback: Arc<[i16]>,
    /// Name and description of each destination.
    pub(super) destinations: Vec<(String, String)>,
}

/// A connection that is being opened.
pub type Connecting = JoinHandle<Result<Socket, ConnectError>>;

impl std::fmt::Debug for BotSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BotSetup").field("agent", &self.agent.id).field("host", &self.host).finish_non_exhaustive()
    }
}

impl BotSetup {
    /// Makes a bot ready for calls; `None` when the agent has a flow.
    ///
    /// # Errors
    /// One sentence: the guard refuses the URL, a secret or the fallback's file is missing, there is no voice.
    pub async fn new(agent: Arc<Agent>, surroundings: BotSurroundings<'_>) -> Result<Option<Self>, String> {
        let Some(bridge) = agent.bridge.clone() else { return Ok(None) };
        let BotSurroundings { policy, resolver, extra_roots, environment, voice } = surroundings;
        let voice = voice.map(|(tts, speed)| AgentVoice::of(&agent, tts, speed));
        let wrong = |what: &dyn std::fmt::Display| format!("agent {}: bridge: {what}", agent.id);
        // The guard knows the schemes of HTTP, which a WebSocket begins as.
        let checked = policy.check(&bridge.url.replacen("ws", "http", 1)).map_err(|refusal| wrong(&refusal))?;
        let url = checked.url();
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut headers: Vec<(HeaderName, HeaderValue)> = bridge
            .headers
            .iter()
            .map(|(name, text)| header(name, text, environment))
            .collect::<Result<_, ToolProblem>>()
            .map_err(|problem| wrong(&problem))?;
        if let Some(key) = &bridge.signed_by {
            let key = header_text(SIGNATURE.as_str(), key, environment).map_err(|problem| wrong(&problem))?;
            headers.push((SIGNATURE, signature(&bridge.url, &key)));
        }
        let tls = match url.scheme() {
            "https" => {
                let name = ServerName::try_from(host.clone()).map_err(|error| wrong(&error))?;
                Some((tls_config(extra_roots).map_err(|error| wrong(&error))?, name))
            }
            _ => None,
        };
        let fallback = match &bridge.fallback.line {
            FallbackLine::Tone => beeps(),
            FallbackLine::Wav(file) => wav::read_at(file, SampleRate::NARROWBAND).map_err(|e| wrong(&e))?.into(),
            FallbackLine::Say(text) => {
                let voice = voice.as_ref().ok_or_else(|| wrong(&"`fallback` has words, and no voice is loaded"))?;
                // Written in the file: nothing in it is filled in.
                voice.whole_line(text, true).await.map_err(|error| wrong(&error))?
            }
        };
        Ok(Some(Self {
            port: url.port_or_known_default().unwrap_or(443),
            url: bridge.url.clone(),
            host,
            headers,
            tls,
            policy,
            resolver,
            voice,
            fallback,
            destinations: agent.destinations.iter().map(|d| (d.id.clone(), d.description.clone())).collect(),
            bridge,
            agent,
        }))
    }

    /// Whether an agent's bot needs a voice of ours before it can take calls.
    #[must_use]
    pub fn needs_voice(agent: &Agent) -> bool {
        agent.bridge.as_ref().is_some_and(|bridge| matches!(bridge.fallback.line, FallbackLine::Say(_)))
    }

    /// Header fields of the INVITE that become variables `sip_<name>`.
    #[must_use]
    pub fn header_variables(&self) -> &[String] {
        &self.bridge.sip_headers
    }

    /// Begins to open a connection. Dropping the handle does not end the attempt; aborting it does.
    #[must_use]
    pub fn connect(self: &Arc<Self>) -> Connecting {
        tokio::spawn(connect(Arc::clone(self)))
    }

    pub(super) fn asks_for_subprotocol(&self) -> bool {
        self.bridge.protocol == BridgeProtocol::Lean
    }

    /// A machine for one call.
    pub(super) fn wire(&self) -> Wire {
        match self.bridge.protocol {
            BridgeProtocol::Twilio => {
                Wire::Twilio(Twilio::new(self.bridge.account_sid.as_deref(), &mut Random::system()))
            }
            BridgeProtocol::Lean => {
                let encoding = match self.bridge.encoding {
                    BridgeEncoding::Mulaw => Encoding::Mulaw,
                    BridgeEncoding::Pcm16 => Encoding::Pcm16,
                };
                Wire::Lean(Lean::new(AudioFormat { encoding, rate: self.bridge.rate }, self.bridge.barge_in))
            }
        }
    }

    /// The named values for the bot, out of what is known of the call.
    pub(super) fn parameters(&self, variables: &[(String, Pii<String>)]) -> Vec<(String, Pii<String>)> {
        let call: BTreeMap<&str, &str> = variables.iter().map(|(n, v)| (n.as_str(), v.expose().as_str())).collect();
        let mut scope = Scope::new(jiff::Zoned::now().date());
        scope.put("call", &call);
        scope.put("settings", &self.agent.settings);
        let of_headers = variables.iter().filter(|(name, _)| name.starts_with("sip_")).cloned();
        let written = self.bridge.parameters.iter().map(|(name, template)| {
            let (text, _) = self.agent.templates.line(template, &scope);
            (name.clone(), Pii::new(text))
        });
        of_headers.chain(written).collect()
    }
}

/// What Twilio signs of a WebSocket request: its URL, which has no form fields.
fn signature(url: &str, key: &str) -> HeaderValue {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104 §3), and base64 is ASCII")]
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("any length of key");
    mac.update(url.as_bytes());
    let text = base64_of(&mac.finalize().into_bytes());
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn tls_config(extra_roots: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    for certificate in CertificateDer::pem_slice_iter(extra_roots) {
        let certificate = certificate.map_err(|error| format!("the extra root certificates are not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there are no root certificates: install ca-certificates, or give [tools] ca_file".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_keyed_hash_of_the_url() {
        // Checked with `openssl dgst -sha1 -hmac 12345 -binary | base64`.
        let signed = signature("wss://bot.example/media", "12345");
        assert!(signed.is_sensitive());
        assert_eq!(signed.to_str().unwrap(), "/5mvxNeOJlhlHoGo6j8L/oRVdXY=");
    }
}
