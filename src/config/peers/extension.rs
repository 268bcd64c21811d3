//! `[[extension]]`.

use super::address::{display_text, domain, peer_address, sip_user};
use super::{Names, Outgoing, PeerAddress, RING_MAX, RING_MIN, Surroundings};
use crate::config::profile::{EXPIRES_MAX, EXPIRES_MIN, SipProfile};
use crate::config::reader::Table;
use crate::config::secret::{PASSWORD, Secret};
use crate::net::ClientTls;
use std::path::PathBuf;
use std::time::Duration;

/// A line we register on a PBX, like a telephone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    /// Its name in logs, events and commands.
    pub name: String,
    /// The registrar, with the profile's port and transport where none is written.
    pub registrar: PeerAddress,
    /// Where requests go instead of to the registrar itself.
    pub outbound_proxy: Option<PeerAddress>,
    /// Domain of our address of record, where it is not the registrar's host.
    pub domain: Option<String>,
    /// The extension number: user part of our address of record.
    pub user: String,
    /// The digest user name; the same as `user` unless the PBX has an authentication ID.
    pub auth_user: String,
    /// The digest password.
    pub password: Secret,
    /// The only realm whose challenges are answered; `None` keeps the first that worked.
    pub realm: Option<String>,
    /// Display name of the registration.
    pub display_name: Option<String>,
    /// TLS towards registrar and proxy; `None` verifies against the system's roots.
    pub tls: Option<ClientTls>,
    /// The lifetime to ask for.
    pub expires: Duration,
    /// How long callers hear ringing before the agent answers.
    pub ring: Option<Duration>,
    /// WAV file that callers hear once, as early media, before they are answered.
    pub announcement: Option<PathBuf>,
    /// Our own calls.
    pub outgoing: Outgoing,
    /// The agent that answers, a name under `[agents]`.
    pub agent: String,
    /// How this make of PBX wants to be treated, overrides included.
    pub profile: SipProfile,
}

impl Surroundings<'_> {
    pub(in crate::config) fn extension(&self, table: Table<'_, '_>, names: &mut Names) -> Option<Extension> {
        let name = names.read(&table, "\"reception\"");
        let profile = self.profile(&table);
        let (port, transport) = profile.as_ref().map_or((None, None), |p| (p.value.port, p.value.transport));
        if !table.has("registrar") {
            table.missing("registrar", "\"pbx.example.com:5060\"");
        }
        let registrar = peer_address(&table, "registrar", port, transport);
        let outbound_proxy = peer_address(&table, "outbound_proxy", None, transport);
        let domain = domain(&table, "domain");
        let user = table.required("user", "\"1001\"").and_then(|user| sip_user(&table, "user", user));
        let auth_user = table.text("auth_user").and_then(|user| sip_user(&table, "auth_user", user));
        let password = self.secrets.required(&table, &PASSWORD);
        let realm = table.text("realm").map(|realm| realm.value);
        let display_name = display_text(&table, "display_name");
        let tls = self.tls(&table);
        let expires = table.duration("expires", EXPIRES_MIN..=EXPIRES_MAX);
        let ring = table.duration("ring", RING_MIN..=RING_MAX);
        let announcement = self.announcement(&table);
        let outgoing = Outgoing::read(&table);
        let agent = self.agent(&table);
        if let Some(profile) = &profile
            && profile.value.auth_user_required
            && !table.has("auth_user")
        {
            let message = format!("profile `{}` needs `auth_user`", profile.value.name);
            let fix = "add `auth_user = \"…\"`: the PBX shows it as authentication ID or registration name";
            table.error(profile.span.clone(), message, fix);
        }
        if let Some(profile) = &profile
            && !profile.value.takes_registrations
        {
            let message = format!("profile `{}` has no registrations", profile.value.name);
            table.error(
                profile.span.clone(),
                message,
                "write a [[trunk]] with `gateways` instead of the [[extension]]",
            );
        }
        table.finish();
        let (user, profile) = (user?, profile?.value);
        Some(Extension {
            name: name?,
            registrar: registrar?,
            outbound_proxy,
            domain,
            auth_user: auth_user.unwrap_or_else(|| user.clone()),
            user,
            password: password?,
            realm,
            display_name,
            tls,
            expires: expires.unwrap_or(profile.register_expires),
            ring,
            announcement,
            outgoing,
            agent: agent?,
            profile,
        })
    }
}
