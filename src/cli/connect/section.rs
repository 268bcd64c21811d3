//! The section that `offhook connect` writes, out of its answers. Pure.

use crate::config::{Config, SipProfile};

/// Where the password is, as the section says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Password {
    /// In an environment variable.
    Variable(String),
    /// Alone in a file, by its path relative to the configuration.
    File(String),
}

/// What was answered.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub profile: SipProfile,
    pub is_trunk: bool,
    pub name: String,
    pub host: String,
    pub user: Option<String>,
    pub auth_user: Option<String>,
    pub password: Option<Password>,
    pub number: Option<String>,
    pub agent: String,
}

/// Whether a make of peer is connected as a trunk: it has a number of its own, or no registrations.
pub(super) fn is_trunk(profile: &SipProfile) -> bool {
    profile.questions.number.is_some() || !profile.takes_registrations
}

/// A name nobody has: `freepbx-1001`, `twilio`, `twilio-2`.
pub(super) fn free_name(profile: &SipProfile, user: Option<&str>, is_trunk: bool, taken: &[&str]) -> String {
    let base = profile.name.trim_end_matches(".toml").rsplit('/').next().unwrap_or("pbx");
    let wanted = match user {
        Some(user) if !is_trunk => format!("{base}-{user}"),
        _ => base.to_owned(),
    };
    let wanted: String =
        wanted.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).take(60).collect();
    std::iter::once(wanted.clone())
        .chain((2..).map(|n| format!("{wanted}-{n}")))
        .find(|name| !taken.contains(&name.as_str()))
        .unwrap_or(wanted)
}

/// The gateway of a trunk: the answer in the profile's template, or as it is when it is a whole name already.
fn gateway(profile: &SipProfile, host: &str) -> String {
    match &profile.gateway_template {
        Some(template) if !host.contains(['.', ':']) => template.replace("{host}", host),
        _ => host.to_owned(),
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    // The escapes of JSON are those of a TOML basic string, and it stays on one line.
    serde_json::Value::from(text).to_string()
}

/// The section as text, with what has to be done on the other side as comments.
pub(super) fn write(answers: &Answers) -> String {
    let mut lines = Vec::new();
    for note in &answers.profile.notes {
        lines.push(format!("# {note}"));
    }
    let mut key = |key: &str, value: String| lines.push(format!("{key} = {value}"));
    key(if answers.is_trunk { "[[trunk]]\nname" } else { "[[extension]]\nname" }, quoted(&answers.name));
    key("profile", quoted(&answers.profile.name));
    if answers.is_trunk {
        key("gateways", format!("[{}]", quoted(&gateway(&answers.profile, &answers.host))));
        if let Some(user) = &answers.user {
            key("username", quoted(user));
        }
        if answers.user.is_some() && answers.profile.takes_registrations {
            key("register", "true".to_owned());
        }
        if let Some(number) = &answers.number {
            key("user", quoted(number));
        }
        key("qualify", quoted("60s"));
    } else {
        key("registrar", quoted(&answers.host));
        if let Some(user) = &answers.user {
            key("user", quoted(user));
        }
    }
    if let Some(auth_user) = &answers.auth_user {
        key("auth_user", quoted(auth_user));
    }
    match &answers.password {
        Some(Password::Variable(name)) => key("password_env", quoted(name)),
        Some(Password::File(path)) => key("password_file", quoted(path)),
        None => {}
    }
    key("agent", quoted(&answers.agent));
    lines.join("\n") + "\n"
}

/// The same peer in the configuration already, by its name there.
pub(super) fn duplicate<'c>(config: &'c Config, answers: &Answers) -> Option<&'c str> {
    let host = |text: &str| crate::config::PeerAddress::parse(text).map(|address| address.host.to_lowercase());
    if answers.is_trunk {
        let gateway = host(&gateway(&answers.profile, &answers.host));
        let same = |trunk: &&crate::config::Trunk| {
            trunk.gateways.iter().any(|known| Some(known.host.to_lowercase()) == gateway)
                && trunk.credentials.as_ref().map(|own| &own.username) == answers.user.as_ref()
        };
        return config.trunks.iter().find(same).map(|trunk| trunk.name.as_str());
    }
    let same = |extension: &&crate::config::Extension| {
        Some(extension.registrar.host.to_lowercase()) == host(&answers.host)
            && Some(&extension.user) == answers.user.as_ref()
    };
    config.extensions.iter().find(same).map(|extension| extension.name.as_str())
}

/// `text` with the section at its end, and with `agents` entry where the agent is a file that has none.
pub(super) fn appended(text: &str, section: &str, agent: Option<(&str, &str)>) -> String {
    let mut whole = text.trim_end().to_owned();
    if let Some((name, file)) = agent {
        let entry = format!("{name} = {}", quoted(file));
        let header = whole.lines().position(|line| line.trim() == "[agents]");
        whole = match header {
            Some(at) => {
                let mut lines: Vec<&str> = whole.lines().collect();
                lines.insert(at + 1, &entry);
                lines.join("\n")
            }
            None if whole.is_empty() => format!("[agents]\n{entry}"),
            None => format!("{whole}\n\n[agents]\n{entry}"),
        };
    }
    if whole.is_empty() { section.to_owned() } else { format!("{whole}\n\n{section}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn answers(profile: &str) -> Answers {
        let profile = SipProfile::built_in(profile).unwrap();
        Answers {
            is_trunk: is_trunk(&profile),
            name: free_name(&profile, Some("1001"), is_trunk(&profile), &[]),
            profile,
            host: "pbx.example.com".into(),
            user: Some("1001".into()),
            auth_user: Some("a8f3k2".into()),
            password: Some(Password::Variable("PBX_PASSWORD".into())),
            number: None,
            agent: "echo".into(),
        }
    }

    fn parse(text: &str) -> Config {
        Config::parse(Path::new("o.toml"), text, &|_| Some("secret".into())).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    #[test]
    fn what_is_written_for_every_profile_is_a_good_configuration() {
        for name in SipProfile::built_in_names() {
            let mut answers = answers(name);
            answers.number = answers.is_trunk.then(|| "+15550134".to_owned());
            let config = parse(&write(&answers));
            assert_eq!(config.trunks.len() + config.extensions.len(), 1, "{name}");
            assert_eq!(duplicate(&config, &answers), Some(answers.name.as_str()), "{name} is known from then on");
        }
    }

    #[test]
    fn carriers_become_trunks_and_pbxs_extensions() {
        for (name, expected) in [("twilio", true), ("telnyx", true), ("vonage", true), ("cisco", true)] {
            assert_eq!(is_trunk(&SipProfile::built_in(name).unwrap()), expected, "{name}");
        }
        for name in ["3cx", "yeastar", "freepbx", "asterisk", "freeswitch", "signalwire", "generic"] {
            assert!(!is_trunk(&SipProfile::built_in(name).unwrap()), "{name}");
        }
    }

    #[test]
    fn the_part_of_a_carrier_s_domain_is_enough() {
        let answers = Answers { host: "acme".into(), ..answers("twilio") };
        let trunk = &parse(&write(&answers)).trunks[0];
        assert_eq!(trunk.gateways[0].host, "acme.pstn.twilio.com");
        assert!(!trunk.registers, "Twilio has no registrations");
        let telnyx = Answers { host: "sip.telnyx.eu".into(), ..self::answers("telnyx") };
        assert!(parse(&write(&telnyx)).trunks[0].registers);
    }

    #[test]
    fn comments_and_sections_of_the_file_stay_and_the_agent_is_added_once() {
        let before = "# ours\n[agents]\n# the clinic\nclinic = \"clinic.yaml\"\n[server]\ndrain = \"1m\"\n\n";
        let section = write(&answers("freepbx"));
        let after = appended(before, &section, Some(("shop", "shop.yaml")));
        assert!(after.contains("# ours\n[agents]\nshop = \"shop.yaml\"\n# the clinic\n"), "{after}");
        assert_eq!(parse(&after).agents.len(), 2);
        assert!(appended("", &section, None).starts_with("# The extension must be"), "the notes come first");
        let fresh = appended("", &section, Some(("shop", "shop.yaml")));
        assert_eq!(parse(&fresh).agents.len(), 1);
    }

    #[test]
    fn names_are_free_and_fit() {
        let freepbx = SipProfile::built_in("freepbx").unwrap();
        assert_eq!(free_name(&freepbx, Some("1001"), false, &[]), "freepbx-1001");
        assert_eq!(free_name(&freepbx, Some("1001"), false, &["freepbx-1001"]), "freepbx-1001-2");
        assert_eq!(free_name(&freepbx, Some("a b/c"), false, &[]), "freepbx-a-b-c");
    }

    #[test]
    fn quotes_in_an_answer_stay_within_their_string() {
        let odd = Answers { host: "x\"\n[[trunk]]".into(), ..answers("freepbx") };
        let text = write(&odd);
        assert!(!text.contains("\n[[trunk]]"), "{text}");
    }
}
