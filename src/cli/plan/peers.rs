//! Extensions and trunks of the configuration, as registrations, known peers and ways out.

use crate::audio::wav;
use crate::base::{Pii, Random, SampleRate};
use crate::call::{BeforeAnswer, CallerIdentity, Gateway, MediaTerms, PeerTerms};
use crate::cli::server::{ExtensionPlan, RegistrationPlan, TrunkPlan};
use crate::config::{Extension, Outgoing, PeerAddress, ReferTarget, SipProfile, Trunk};
use crate::media::dtls::Identity;
use crate::net::{ClientTls, Destination};
use crate::sdp::{Keying, SrtpPolicy};
use crate::sip::digest::Credentials;
use crate::sip::{Account, CallLimits, KnownPeer, RegistrationConfig, Transport, Uri};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn extension(extension: &Extension) -> Result<ExtensionPlan, String> {
    let terms = terms(&extension.profile, before_answer(extension.ring, extension.announcement.as_deref())?);
    let tls = extension.tls.clone().map(Arc::new);
    let wrong = |what: &str| format!("extension {}: {what} cannot be part of a SIP address", extension.name);
    let registrar = uri(&extension.registrar).ok_or_else(|| wrong(&extension.registrar.host))?;
    let domain = match &extension.domain {
        Some(domain) => Uri::sip(domain, None).map_err(|_| wrong(domain))?,
        None => registrar.clone(),
    };
    let proxy = extension.outbound_proxy.as_ref();
    let route = match proxy {
        Some(proxy) => Some(proxy_uri(proxy).ok_or_else(|| wrong(&proxy.host))?),
        None => None,
    };
    let destination = destination(proxy.unwrap_or(&extension.registrar), tls);
    let account = Account {
        credentials: Credentials {
            username: Pii::new(extension.auth_user.clone()),
            password: extension.password.clone(),
        },
        realm: extension.realm.clone(),
    };
    let contact_user = contact_user(&extension.name, &extension.user, &extension.registrar.host);
    let registration = RegistrationPlan {
        config: RegistrationConfig {
            registrar,
            targets: Vec::new(),
            outbound_proxy: route.clone(),
            aor: domain.with_user(&extension.user),
            display: extension.display_name.clone(),
            account: account.clone(),
            contact_user: contact_user.clone(),
            expires: extension.expires,
            dialog: terms.dialog,
        },
        destination: destination.clone(),
        keep_alive: extension.profile.keep_alive,
    };
    let gateway = Gateway {
        peer: extension.name.clone(),
        domain,
        user: extension.user.clone(),
        destinations: vec![destination],
        route: route.into_iter().collect(),
        account: Some(account),
        contact_user: Some(contact_user),
        identity: identity(&extension.outgoing, &extension.profile, extension.display_name.as_deref()),
        headers: extension.outgoing.headers.clone(),
        allowed_prefixes: extension.outgoing.allowed_prefixes.clone(),
        terms: terms.clone(),
    };
    Ok(ExtensionPlan { name: extension.name.clone(), registration, gateway, agent: extension.agent.clone(), terms })
}

pub(super) fn trunk(trunk: &Trunk) -> Result<TrunkPlan, String> {
    let mut terms = terms(&trunk.profile, before_answer(trunk.ring, trunk.announcement.as_deref())?);
    terms.called_numbers.clone_from(&trunk.called_numbers);
    let known = KnownPeer {
        name: trunk.name.clone(),
        networks: trunk.networks.clone(),
        transports: trunk.transports.clone(),
        authentication: trunk.inbound.clone(),
        limits: CallLimits { concurrent: trunk.max_calls, per_second: trunk.max_calls_per_second },
        dialog: terms.dialog,
    };
    let tls = trunk.tls.clone().map(Arc::new);
    let gateway = gateway(trunk, &terms, tls.as_ref())?;
    let registration = match (&gateway, trunk.gateways.first()) {
        (Some(gateway), Some(first)) if trunk.registers => Some(trunk_registration(trunk, gateway, first, tls)?),
        _ => None,
    };
    Ok(TrunkPlan {
        known,
        host_names: trunk.host_names.clone(),
        gateway,
        registration,
        qualify: trunk.qualify,
        agent: trunk.agent.clone(),
        terms,
    })
}

fn gateway(trunk: &Trunk, terms: &PeerTerms, tls: Option<&Arc<ClientTls>>) -> Result<Option<Gateway>, String> {
    let Some(first) = trunk.gateways.first() else { return Ok(None) };
    let wrong = |what: &str| format!("trunk {}: {what} cannot be part of a SIP address", trunk.name);
    let domain = match &trunk.domain {
        Some(domain) => Uri::sip(domain, None).map_err(|_| wrong(domain))?,
        None => uri(first).ok_or_else(|| wrong(&first.host))?,
    };
    // The transport is written where it is not the usual one: some carriers take TLS only so (RFC 3261 §19.1.1).
    let domain = match first.transport {
        Some(transport @ (Transport::Tcp | Transport::Tls)) => {
            domain.with_parameter("transport", Some(&transport.via_name().to_ascii_lowercase()))
        }
        _ => domain,
    };
    let account = trunk.credentials.as_ref().map(|own| Account {
        credentials: Credentials { username: Pii::new(own.auth_user.clone()), password: own.password.clone() },
        realm: own.realm.clone(),
    });
    let username = trunk.credentials.as_ref().map(|own| own.username.clone());
    let user = trunk.user.clone().or_else(|| username.clone()).unwrap_or_else(|| "offhook".to_owned());
    let contact_user =
        trunk.registers.then(|| contact_user(&trunk.name, username.as_ref().unwrap_or(&user), &first.host));
    Ok(Some(Gateway {
        peer: trunk.name.clone(),
        domain,
        user,
        destinations: trunk.gateways.iter().map(|address| destination(address, tls.cloned())).collect(),
        route: Vec::new(),
        account,
        contact_user,
        identity: identity(&trunk.outgoing, &trunk.profile, None),
        headers: trunk.outgoing.headers.clone(),
        allowed_prefixes: trunk.outgoing.allowed_prefixes.clone(),
        terms: terms.clone(),
    }))
}

fn trunk_registration(
    trunk: &Trunk,
    gateway: &Gateway,
    first: &PeerAddress,
    tls: Option<Arc<ClientTls>>,
) -> Result<RegistrationPlan, String> {
    let wrong = || format!("trunk {}: {} cannot be part of a SIP address", trunk.name, first.host);
    let registrar = uri(first).ok_or_else(wrong)?;
    let domain = match &trunk.domain {
        Some(domain) => Uri::sip(domain, None).map_err(|_| wrong())?,
        None => registrar.clone(),
    };
    let (Some(own), Some(account), Some(contact_user)) = (&trunk.credentials, &gateway.account, &gateway.contact_user)
    else {
        return Err(format!("trunk {}: a registration needs `username` and a password", trunk.name));
    };
    Ok(RegistrationPlan {
        config: RegistrationConfig {
            registrar,
            targets: Vec::new(),
            outbound_proxy: None,
            aor: domain.with_user(&own.username),
            display: None,
            account: account.clone(),
            contact_user: contact_user.clone(),
            expires: trunk.expires,
            dialog: gateway.terms.dialog,
        },
        destination: destination(first, tls),
        keep_alive: trunk.profile.keep_alive,
    })
}

/// `sip:host[:port]`; the usual port is not written.
fn uri(address: &PeerAddress) -> Option<Uri> {
    Uri::sip(&address.uri_host(), address.port.filter(|port| *port != 5060)).ok()
}

/// `sip:host[:port][;transport=…];lr`.
fn proxy_uri(address: &PeerAddress) -> Option<Uri> {
    let uri = uri(address)?;
    let uri = match address.transport {
        Some(transport) => uri.with_parameter("transport", Some(&transport.via_name().to_ascii_lowercase())),
        None => uri,
    };
    Some(uri.with_parameter("lr", None))
}

fn destination(address: &PeerAddress, tls: Option<Arc<ClientTls>>) -> Destination {
    Destination { host: address.host.clone(), port: address.port, transport: address.transport, tls }
}

/// The user part of a registration's Contact: the same after every restart, so that a binding left by a crash is known
/// as ours, and unlike that of other phones of the same extension.
fn contact_user(name: &str, user: &str, host: &str) -> String {
    let digest = Sha256::digest(format!("{name}\0{user}\0{host}"));
    let token: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("{user}-{token}")
}

fn identity(outgoing: &Outgoing, profile: &SipProfile, display_name: Option<&str>) -> CallerIdentity {
    CallerIdentity {
        number: outgoing.caller_number.clone(),
        name: outgoing.caller_name.clone().or_else(|| display_name.map(|name| Pii::new(name.to_owned()))),
        is_private: outgoing.is_private,
        assert: profile.assert_identity,
        diverted_from: outgoing.diversion.clone(),
    }
}

fn before_answer(ring: Option<Duration>, announcement: Option<&Path>) -> Result<BeforeAnswer, String> {
    match announcement {
        Some(file) => wav::read_at(file, SampleRate::NARROWBAND)
            .map(|samples| BeforeAnswer::Announcement(samples.into()))
            .map_err(|error| format!("announcement: {error}")),
        None => Ok(ring.map_or(BeforeAnswer::Nothing, BeforeAnswer::Ringing)),
    }
}

/// The part of a profile that calls need.
fn terms(profile: &SipProfile, before_answer: BeforeAnswer) -> PeerTerms {
    let may_handshake = profile.srtp != SrtpPolicy::Off && profile.keying.contains(&Keying::Dtls);
    PeerTerms {
        media: MediaTerms {
            codecs: profile.codecs.clone(),
            preference: profile.codec_preference,
            srtp: profile.srtp,
            keying: profile.keying.clone(),
            danger_sdes_without_tls: profile.danger_sdes_without_tls,
            identity: may_handshake.then(|| Identity::new(&mut Random::system())).flatten(),
            ..MediaTerms::default()
        },
        context_header: profile.context_header.clone(),
        refer_as_tel: profile.refer_target == ReferTarget::Tel,
        refer_with_diversion: profile.refer_diversion,
        transfer: profile.transfer,
        digits: profile.dtmf,
        header_variables: profile.header_variables.clone(),
        dialog: profile.dialog(),
        numbers: profile.number_format,
        before_answer,
        ..PeerTerms::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    fn config(text: &str) -> Config {
        Config::parse(Path::new("offhook.toml"), text, &|_| None).unwrap_or_else(|e| panic!("{e}"))
    }

    fn an_extension(more: &str) -> ExtensionPlan {
        let text = format!(
            "[[extension]]\nname = \"front\"\nregistrar = \"pbx.example:5062\"\nuser = \"1001\"\npassword = \"secret\"\n\
             agent = \"echo\"\nprofile = \"freepbx\"\n{more}"
        );
        extension(&config(&text).extensions[0]).unwrap()
    }

    fn a_trunk(more: &str) -> TrunkPlan {
        trunk(&config(&format!("[[trunk]]\nname = \"carrier\"\nagent = \"echo\"\n{more}")).trunks[0]).unwrap()
    }

    #[test]
    fn the_contact_of_an_extension_is_the_same_after_a_restart_and_its_own() {
        let contact = |more: &str| an_extension(more).registration.config.contact_user;
        let same = contact("");
        assert_eq!(same, contact(""));
        assert!(same.starts_with("1001-") && same.len() == 13);
        assert_ne!(same, contact_user("back", "1001", "pbx.example"));
    }

    #[test]
    fn the_authentication_id_is_apart_from_the_extension_number() {
        let plan = an_extension("auth_user = \"a8f3k2\"");
        let config = plan.registration.config;
        assert_eq!(config.account.credentials.username.expose(), "a8f3k2");
        assert_eq!(config.aor.as_str(), "sip:1001@pbx.example:5062");
        assert_eq!(config.registrar.as_str(), "sip:pbx.example:5062");
        assert_eq!(plan.gateway.user, "1001");
    }

    #[test]
    fn an_outbound_proxy_gets_the_requests_and_the_domain_stays() {
        let plan = an_extension("outbound_proxy = \"edge.example;transport=tls\"\ndomain = \"example.com\"");
        let registration = plan.registration;
        assert_eq!(registration.config.aor.as_str(), "sip:1001@example.com");
        assert_eq!(registration.config.outbound_proxy.unwrap().as_str(), "sip:edge.example;transport=tls;lr");
        assert_eq!(
            (registration.destination.host.as_str(), registration.destination.transport),
            ("edge.example", Some(Transport::Tls))
        );
        assert_eq!(plan.gateway.route.len(), 1);
        assert_eq!(plan.gateway.domain.as_str(), "sip:example.com");
    }

    #[test]
    fn overrides_reach_the_terms_of_calls() {
        let plan = an_extension(
            "overrides = { session_timer = \"off\", dtmf = \"info\", transfer = \"bridge\" }\naccept_refer = true",
        );
        assert_eq!(plan.terms.dialog.session_timer, None);
        assert!(plan.terms.dialog.accept_refer && plan.registration.config.dialog.accept_refer);
        assert_eq!(plan.terms.digits, crate::call::DigitsBy::Info);
        assert_eq!(plan.terms.transfer, crate::call::TransferBy::Bridge);
        assert_eq!(plan.registration.config.expires.as_secs(), 120, "the profile's");
        assert_eq!(an_extension("expires = \"3m\"").registration.config.expires.as_secs(), 180);
    }

    #[test]
    fn a_trunk_of_a_carrier_is_heard_at_its_networks_and_called_by_its_domain() {
        let plan = a_trunk(
            "profile = \"twilio\"\ngateways = [\"acme.pstn.twilio.com\"]\nusername = \"acme\"\npassword = \"s\"\n\
             user = \"+15550134\"\ncaller_name = \"Acme\"\nheaders = { X-Token = \"t\" }\nmax_calls = 5\n\
             called_numbers = [\"+15550134\"]\nallowed_prefixes = [\"+1\"]",
        );
        assert!(plan.known.networks.iter().any(|network| network.to_string() == "54.172.60.0/30"));
        assert_eq!(plan.host_names, ["acme.pstn.twilio.com"]);
        assert_eq!(plan.known.limits.concurrent, Some(5));
        let gateway = plan.gateway.unwrap();
        assert_eq!(gateway.domain.as_str(), "sip:acme.pstn.twilio.com;transport=tls");
        assert_eq!(gateway.destinations[0].transport, Some(Transport::Tls));
        assert_eq!(gateway.user, "+15550134");
        assert_eq!(gateway.headers, [("X-Token".to_owned(), "t".to_owned())]);
        assert!(gateway.terms.refer_as_tel && gateway.terms.header_variables.iter().any(|h| h == "X-Twilio-CallSid"));
        assert!(plan.registration.is_none());
        assert_eq!(plan.terms.called_numbers, ["+15550134"]);
    }

    #[test]
    fn a_registering_trunk_registers_its_account_with_the_first_gateway() {
        let plan = a_trunk(
            "profile = \"telnyx\"\ngateways = [\"sip.telnyx.eu\", \"192.0.2.7:5080\"]\nusername = \"acme\"\n\
             auth_user = \"acme-id\"\npassword = \"s\"\nregister = true",
        );
        let registration = plan.registration.unwrap();
        assert_eq!(registration.config.aor.as_str(), "sip:acme@sip.telnyx.eu");
        assert_eq!(registration.config.account.credentials.username.expose(), "acme-id");
        let gateway = plan.gateway.unwrap();
        assert_eq!(gateway.contact_user.as_deref(), Some(registration.config.contact_user.as_str()));
        assert_eq!(gateway.destinations.len(), 2);
        assert!(plan.known.networks.contains(&"192.0.2.7/32".parse().unwrap()), "a gateway may call");
        assert!(gateway.terms.refer_with_diversion);
    }

    #[test]
    fn a_trunk_that_has_to_know_a_password_is_challenged() {
        let plan = a_trunk(
            "hosts = [\"192.0.2.0/24\"]\ninbound_username = \"pbx\"\ninbound_password = \"s\"\ntransports = [\"tls\"]",
        );
        let authentication = plan.known.authentication.unwrap();
        assert_eq!(
            (authentication.realm.as_str(), authentication.credentials.username.expose().as_str()),
            ("offhook", "pbx")
        );
        assert_eq!(plan.known.transports, [Transport::Tls]);
        assert!(plan.gateway.is_none());
    }
}
