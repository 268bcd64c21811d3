//! The configuration file: what a good one gives, and what each mistake in a bad one says, and where.

use offhook::audio::tones::Tone;
use offhook::call::{DigitsBy, TransferBy};
use offhook::config::{Config, ConfigErrors, LatenessLimit, LogFormat, PeerAddress, PortRange};
use offhook::net::Listen;
use offhook::sdp::Codec;
use offhook::sip::Transport;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

fn environment(name: &str) -> Option<String> {
    match name {
        "PBX_PASSWORD" => Some("hunter2".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(Path::new("/etc/offhook/offhook.toml"), text, &environment)
}

const AGENTS: &str = "[agents]\nclinic = \"clinic.yaml\"\n";
const EXTENSION: &str = "[[extension]]\nname = \"reception\"\nregistrar = \"pbx.example.com\"\nuser = \"1001\"\n\
                         password_env = \"PBX_PASSWORD\"\nagent = \"clinic\"\n";
const TRUNK: &str = "[[trunk]]\nname = \"carrier\"\nhosts = [\"203.0.113.7\"]\nagent = \"clinic\"\n";

/// Asserts that `text` has exactly one mistake, at `line` and `column` of the file.
#[track_caller]
fn mistake(text: &str, line: usize, column: usize, message: &str, fix: &str) {
    let errors = parse(text).expect_err(text);
    assert_eq!(errors.0.len(), 1, "{errors}");
    let error = &errors.0[0];
    assert_eq!((error.line, error.column), (line, column), "{errors}");
    assert!(error.message.contains(message), "`{message}` is not in: {errors}");
    assert!(error.fix.contains(fix), "`{fix}` is not in: {errors}");
}

/// As [`mistake`], for a section put above a good extension.
#[track_caller]
fn mistake_in(section: &str, line: usize, column: usize, message: &str, fix: &str) {
    mistake(&format!("{section}\n{AGENTS}{EXTENSION}"), line, column, message, fix);
}

/// As [`mistake`], for an extension with one line changed; lines count from its header.
#[track_caller]
fn mistake_in_extension(from: &str, to: &str, line: usize, column: usize, message: &str, fix: &str) {
    let changed = EXTENSION.replace(from, to);
    assert_ne!(changed, EXTENSION);
    mistake(&format!("{AGENTS}{changed}"), line + 2, column, message, fix);
}

#[track_caller]
fn mistake_in_trunk(from: &str, to: &str, line: usize, column: usize, message: &str, fix: &str) {
    let changed = TRUNK.replace(from, to);
    assert_ne!(changed, TRUNK);
    mistake(&format!("{AGENTS}{changed}"), line + 2, column, message, fix);
}

#[test]
fn the_example_file_reads_and_its_values_are_the_defaults_it_claims() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/offhook.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let example = Config::parse(&path, &text, &environment).unwrap_or_else(|errors| panic!("{errors}"));
    let bare = parse(&format!("{AGENTS}{EXTENSION}")).unwrap();
    assert_eq!(example.server, bare.server);
    assert_eq!(example.media, bare.media);
    assert_eq!(example.inference, bare.inference);
    assert_eq!(example.tools.budget, bare.tools.budget);
    assert_eq!(example.logging, bare.logging);
    assert_eq!(example.models_dir, None);
    assert_eq!(example.tools.egress_policy().dangers().count(), 2);
}

/// The keys that the readers in this directory ask a table for.
fn keys(directory: &Path, keys: &mut BTreeSet<String>) {
    let asked = regex::Regex::new(
        r#"(?:\.(?:boolean|choice|duration|integers?|misplaced_boolean|parsed|read|required|switch|tables?|texts?|text_or_texts)\(|(?:written|variable|file|credential): |(?:header_names|peer_address|domain)\(&?table, )\s*"([a-z_0-9]+)""#,
    );
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            self::keys(&path, keys);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            keys.extend(asked.as_ref().unwrap().captures_iter(code).map(|found| found[1].to_owned()));
        }
    }
}

#[test]
fn every_setting_is_shown_in_the_example_or_in_a_profile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut shown = std::fs::read_to_string(root.join("examples/offhook.toml")).unwrap();
    for profile in std::fs::read_dir(root.join("sip-profiles")).unwrap() {
        shown.push_str(&std::fs::read_to_string(profile.unwrap().path()).unwrap());
    }
    let words: BTreeSet<&str> = shown.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let mut known = BTreeSet::new();
    keys(&root.join("src/config"), &mut known);
    assert!(known.len() > 100, "{} keys were found", known.len());
    let missing: Vec<&String> = known.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_minimal_file_gets_working_defaults() {
    let config = parse(&format!("{AGENTS}{EXTENSION}")).unwrap();
    let everywhere = "0.0.0.0:5060".parse().unwrap();
    let tcp = Listen { transport: Transport::Tcp, address: everywhere, tls: None };
    assert_eq!(config.server.sip_listen, [Listen::udp(everywhere), tcp]);
    assert!(config.server.advertised.is_empty());
    assert_eq!(config.media.rtp_ports, PortRange { first: 20_000, last: 29_999 });
    assert_eq!(config.media.rtp_ports.calls(), 5_000);
    assert_eq!(config.models_dir, None);
    assert_eq!(config.agents["clinic"].file, Path::new("/etc/offhook/clinic.yaml"));
    let extension = &config.extensions[0];
    assert_eq!(extension.registrar, PeerAddress { host: "pbx.example.com".into(), port: None, transport: None });
    assert_eq!((extension.user.as_str(), extension.auth_user.as_str()), ("1001", "1001"));
    assert_eq!(extension.password.expose(), "hunter2");
    assert_eq!(extension.profile.name, "generic");
    assert_eq!(extension.profile.codecs, [Codec::Pcmu, Codec::Pcma, Codec::G722]);
    assert_eq!(extension.profile.dtmf, DigitsBy::Rfc4733);
    assert!(config.trunks.is_empty());
}

#[test]
fn every_key_arrives_where_it_belongs() {
    let config = parse(
        r#"
        server = { sip_listen = "[::]:5070", advertised_address = "203.0.113.9", drain = "1h" }
        media = { bind = "192.0.2.1", rtp_ports = "30000-30100", workers = 3 }
        models = { dir = "/var/lib/offhook/models" }
        inference = { threads = 2, queue = 8 }
        logging = { level = "warn,offhook::sip=debug", format = "json" }
        [agents.clinic]
        file = "agents/clinic.yaml"
        settings = { booking_url = "http://127.0.0.1:8089", seats = 3, open = true }
        [[extension]]
        name = "reception"
        registrar = "[2001:db8::1]:5080"
        user = "1001"
        auth_user = "a8f3k2"
        password = "s3cret"
        agent = "clinic"
        profile = "3cx"
        [[trunk]]
        name = "carrier"
        hosts = ["198.51.100.0/24", "2001:db8:1::/48"]
        called_numbers = ["+15550134", "100"]
        agent = "clinic"
        profile = "asterisk"
        [tools]
        calls_per_phone_call = 5
        time_per_phone_call = "30s"
        ca_file = "root.pem"
        [[tools.host]]
        name = "api.inside.example"
        ports = [9000]
        danger_allow_private_addresses = true
        "#,
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.server.drain, Duration::from_secs(3_600));
    assert_eq!(config.server.advertised[0].address, "203.0.113.9".parse::<IpAddr>().unwrap());
    assert_eq!(config.extensions[0].registrar.to_string(), "[2001:db8::1]:5080");
    assert_eq!(config.models_dir.as_deref(), Some(Path::new("/var/lib/offhook/models")));
    assert_eq!(config.media.rtp_ports, PortRange { first: 30_000, last: 30_099 }, "the last port is RTCP's");
    assert_eq!((config.media.workers, config.inference.threads, config.inference.queue), (Some(3), Some(2), Some(8)));
    assert_eq!(config.agents["clinic"].settings["booking_url"], "http://127.0.0.1:8089");
    assert_eq!(config.agents["clinic"].settings["seats"], "3");
    assert_eq!(config.agents["clinic"].settings["open"], "true");
    assert_eq!(config.extensions[0].auth_user, "a8f3k2");
    assert_eq!(config.extensions[0].profile.name, "3cx");
    assert_eq!(config.trunks[0].networks.len(), 2);
    assert_eq!(config.tools.budget.calls, 5);
    assert_eq!(config.tools.ca_file.as_deref(), Some(Path::new("/etc/offhook/root.pem")));
    let policy = config.tools.egress_policy();
    assert!(policy.check("https://api.inside.example:9000/").is_ok());
    assert!(policy.check("http://api.inside.example:9000/").is_err());
    assert_eq!(config.logging.format, LogFormat::Json);
}

#[test]
fn further_calls_are_refused_by_the_lateness_that_the_file_names_or_never() {
    let limit = |media: &str| parse(&format!("{media}\n{AGENTS}{EXTENSION}")).map(|config| config.media.admission);
    assert_eq!(limit("").unwrap(), Some(LatenessLimit::default()));
    assert_eq!(limit("media = { admission = \"off\" }").unwrap(), None);
    let own = LatenessLimit { late_share: 5, window: Duration::from_secs(8), ..LatenessLimit::default() };
    assert_eq!(limit("media = { admission = { late_share = 5, window = \"8s\" } }").unwrap(), Some(own));
    let wrong = limit("media = { admission = { late_share = 0, late_after = \"1s\", windows = \"8s\" } }");
    let text = wrong.unwrap_err().to_string();
    for part in ["`late_share` is 0, outside 1 to 50", "`late_after` is 1s, outside 2ms to 200ms", "windows"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(limit("media = { admission = \"never\" }").is_err());
}

#[test]
fn debug_output_shows_no_password() {
    let config = parse(&format!("{AGENTS}{EXTENSION}")).unwrap();
    let text = format!("{config:?}");
    assert!(!text.contains("hunter2") && text.contains("{redacted}"), "{text}");
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once_in_its_order() {
    let errors = parse(
        "[server]\nsip_listen = \"5060\"\ndrane = \"1m\"\n[media]\nrtp_ports = 20000\n\
         [[extension]]\nname = \"a b\"\npassword = 7\n[[trunk]]\nname = \"t\"\nhosts = []\nagent = \"x\"\n",
    )
    .unwrap_err();
    let places: Vec<_> = errors.0.iter().map(|error| (error.line, error.message.as_str())).collect();
    let lines: Vec<_> = places.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 5, 6, 6, 6, 7, 8, 11, 12], "{errors}");
}

#[test]
fn an_error_shows_file_line_column_the_line_and_the_fix() {
    let errors = parse(&format!("[server]\nsip_lissten = \"0.0.0.0:5060\"\n{AGENTS}{EXTENSION}")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "/etc/offhook/offhook.toml:2:1: [server] has no key `sip_lissten`\n\
         \x20 2 | sip_lissten = \"0.0.0.0:5060\"\n\
         \x20   | ^^^^^^^^^^^\n\
         \x20 fix: write `sip_listen`"
    );
}

#[test]
fn syntax_mistakes() {
    mistake("[server\n", 1, 8, "unclosed", "toml.io");
    mistake_in("[server]\ndrain = \"1m\"\ndrain = \"2m\"", 3, 1, "duplicate key", "keep one");
    let errors = parse("[server]\ndrain = \n[media]\nbind = 'x\n").unwrap_err();
    assert_eq!((errors.0[0].line, errors.0.len() >= 2), (2, true), "{errors}");
}

#[test]
fn unknown_keys_and_wrong_types() {
    mistake_in("[sever]", 1, 2, "no key `sever`", "write `server`");
    mistake_in("[databases]", 1, 2, "no key `databases`", "known here are");
    mistake_in("server = 5060", 1, 10, "but a table is wanted", "table");
    mistake_in("[server]\nsip_listen = 5060", 2, 14, "but a string or list is wanted", "0.0.0.0:5060");
    mistake_in("[server]\nsip_listen = \"\"", 2, 14, "empty", "value");
    mistake_in("[media]\nworkers = \"two\"", 2, 11, "whole number", "whole number");
    mistake_in("[[tools.host]]\nname = \"h\"\ndanger_allow_http = 1", 3, 21, "boolean", "boolean");
    mistake("extension = 1\n", 1, 13, "list of tables", "[[extension]]");
    mistake("extension = [1]\n", 1, 14, "table", "table");
}

#[test]
fn server_and_media_mistakes() {
    mistake_in("[server]\nsip_listen = \"0.0.0.0\"", 2, 14, "not an address and port", "0.0.0.0:5060");
    mistake_in("[server]\nadvertised_address = \"pbx\"", 2, 22, "not an address", "203.0.113.7");
    mistake_in("[server]\nadvertised_address = \"0.0.0.0\"", 2, 22, "nobody can send", "leave it out");
    mistake_in("[server]\ndrain = \"10\"", 2, 9, "not a duration", "\"90s\"");
    mistake_in("[server]\ndrain = \"2h\"", 2, 9, "outside 0s to 1h", "0s to 1h");
    mistake_in("[media]\nbind = \"eth0\"", 2, 8, "not an address", "0.0.0.0");
    mistake_in("[media]\nrtp_ports = \"20000\"", 2, 13, "not a range", "20000-29999");
    mistake_in("[media]\nrtp_ports = \"30000-20000\"", 2, 13, "backwards", "\"20000-30000\"");
    mistake_in("[media]\nrtp_ports = \"80-29999\"", 2, 13, "system services", "1024");
    mistake_in("[media]\nrtp_ports = \"20000-20003\"", 2, 13, "too few", "8 ports");
    mistake_in("[media]\nrtp_ports = \"20001-29999\"", 2, 13, "odd", "20002");
    mistake_in("[media]\nworkers = 0", 2, 11, "outside 1 to 256", "1 to 256");
    mistake_in("[inference]\nqueue = 100000", 2, 9, "outside 1 to 10000", "1 to 10000");
    mistake_in("[models]\ndir = 3", 2, 7, "string", "string");
    mistake_in("[logging]\nlevel = \"loud\"", 2, 9, "not a level", "info");
    mistake_in("[logging]\nformat = \"jsn\"", 2, 10, "known are", "\"json\"");
}

#[test]
fn agent_entry_mistakes() {
    let with = |agents: &str| format!("{agents}{TRUNK}");
    mistake(&with("[agents]\nclinic = 3\n"), 2, 10, "a file is wanted", "clinic.yaml");
    mistake(&with("[agents.clinic]\n"), 1, 1, "[agents.clinic] has no `file`", "clinic.yaml");
    mistake(&with("[agents.clinic]\nfil = \"x.yaml\"\n"), 2, 1, "no key `fil`", "write `file`");
    let settings = "[agents.clinic]\nfile = \"x.yaml\"\nsettings = { a = [1] }\n";
    mistake(&with(settings), 3, 18, "setting `a` is of type array", "a string, a number");
}

#[test]
fn the_built_in_echo_agent_needs_no_entry_and_no_other_may_take_its_name() {
    let echo = TRUNK.replace("clinic", "echo");
    assert_eq!(parse(&echo).unwrap().trunks[0].agent, "echo");
    mistake(&format!("[agents]\necho = \"x.yaml\"\n{echo}"), 2, 1, "`echo` is built in", "another name");
}

#[test]
fn tool_host_mistakes() {
    mistake_in("[[tools.host]]\nports = [1]", 1, 1, "has no `name`", "name = ");
    mistake_in("[[tools.host]]\nname = \"https://api.example\"", 2, 8, "not a host", "without scheme");
    mistake_in("[[tools.host]]\nname = \"h:80\"", 2, 8, "not a host", "without scheme, port");
    mistake_in("[[tools.host]]\nname = \"h\"\nports = [0]", 3, 10, "1 to 65535", "1 to 65535");
    mistake_in("[[tools.host]]\nname = \"h\"\nports = [\"80\"]", 3, 10, "whole numbers", "whole numbers");
    mistake_in("[[tools.host]]\nname = \"h\"\n[[tools.host]]\nname = \"H\"", 4, 8, "line 2 already", "one table");
    mistake_in("[[tools.host]]\nname = \"h\"\nallow_http = true", 3, 1, "no key `allow_http`", "danger_allow_http");
}

#[test]
fn extension_mistakes() {
    mistake_in_extension("name = \"reception\"\n", "", 1, 1, "has no `name`", "reception");
    mistake_in_extension("\"reception\"", "\"a b\"", 2, 8, "not a good name", "letters");
    mistake_in_extension("registrar = \"pbx.example.com\"\n", "", 1, 1, "has no `registrar`", "pbx.example.com:5060");
    mistake_in_extension("\"pbx.example.com\"", "\"sip:pbx\"", 3, 13, "not a host", "pbx.example.com:5060");
    mistake_in_extension("registrar", "registar", 3, 1, "no key `registar`", "write `registrar`");
}

#[test]
fn secret_mistakes() {
    let env = "password_env = \"PBX_PASSWORD\"";
    mistake_in_extension(&format!("{env}\n"), "", 1, 1, "has no `password_env`", "PBX_PASSWORD");
    mistake_in_extension(env, "password_env = \"MISSING\"", 5, 16, "`MISSING` is not set", "MISSING=");
    mistake_in_extension(env, "password_env = \"EMPTY\"", 5, 16, "`EMPTY` is not set", "EMPTY=");
    mistake_in_extension(env, &format!("{env}\npassword = \"x\""), 5, 1, "both given", "keep one");
    mistake_in_extension(env, "password_file = \"/nonexistent/secret\"", 5, 17, "cannot be used", "secret alone");
}

#[test]
fn reference_mistakes() {
    let agent = "agent = \"clinic\"";
    mistake_in_extension(agent, "agent = \"clinik\"", 6, 9, "no agent `clinik`", "write \"clinic\"");
    mistake_in_extension(agent, "agent = \"taxi\"", 6, 9, "no agent `taxi`", "taxi = \"taxi.yaml\"");
    mistake_in_extension(agent, &format!("{agent}\nprofile = \"frepbx\""), 7, 11, "no profile `frepbx`", "\"freepbx\"");
    mistake_in_extension(
        agent,
        &format!("{agent}\nprofile = \"3cx\""),
        7,
        11,
        "needs `auth_user`",
        "authentication ID",
    );
    mistake_in_extension("user = \"1001\"", "user = \"1001@pbx\"", 4, 8, "user part", "\"1001\"");
    mistake(&format!("{AGENTS}{EXTENSION}{EXTENSION}"), 10, 8, "taken by line 4", "name of its own");
    mistake(AGENTS, 1, 1, "neither [[extension]] nor [[trunk]]", "[[extension]]");
}

#[test]
fn trunk_mistakes() {
    mistake_in_trunk("hosts = [\"203.0.113.7\"]\n", "", 1, 1, "has no `hosts`", "203.0.113.7");
    mistake_in_trunk("[\"203.0.113.7\"]", "\"203.0.113.7\"", 3, 9, "list of strings", "list");
    mistake_in_trunk("[\"203.0.113.7\"]", "[]", 3, 1, "empty", "addresses");
    mistake_in_trunk("203.0.113.7", "carrier/example", 3, 10, "neither an address", "sip.example.com");
    mistake_in_trunk("203.0.113.7", "203.0.113.7/24", 3, 10, "beyond its prefix", "\"203.0.113.0/24\"");
    mistake_in_trunk("203.0.113.7", "0.0.0.0/0", 3, 10, "large part of the internet", "danger_allow_any_host");
    let wide = TRUNK.replace("203.0.113.7", "0.0.0.0/0") + "danger_allow_any_host = true\n";
    assert!(parse(&format!("{AGENTS}{wide}")).is_ok());
    mistake_in_trunk("agent", "called_numbers = [\"+1 555\"]\nagent", 4, 19, "user part", "number");
}

#[test]
fn two_trunks_that_one_call_would_fit_into_are_refused() {
    let second = "[[trunk]]\nname = \"other\"\nhosts = [\"203.0.113.0/24\"]\nagent = \"clinic\"\n";
    let text = format!("{AGENTS}{TRUNK}{second}");
    mistake(&text, 7, 1, "both take calls from", "called_numbers");
    let apart = format!("{AGENTS}{TRUNK}called_numbers = [\"1\"]\n{second}called_numbers = [\"2\"]\n");
    assert_eq!(parse(&apart).unwrap().trunks.len(), 2);
}

#[test]
fn mistakes_in_a_profile_of_ones_own_point_into_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offhook.toml");
    let text = format!("{AGENTS}{EXTENSION}profile = \"house.toml\"\n");
    let load = || Config::parse(&file, &text, &environment);
    assert!(load().unwrap_err().to_string().contains("house.toml: the profile cannot be read"));
    std::fs::write(folder.path().join("house.toml"), "inherits = \"3cx\"\nauth_user = \"optionl\"\n").unwrap();
    let errors = load().unwrap_err();
    assert_eq!((errors.0[0].line, errors.0[0].column), (2, 13), "{errors}");
    assert!(errors.0[0].file.ends_with("house.toml") && errors.0[0].fix.contains("\"optional\""), "{errors}");
    std::fs::write(folder.path().join("house.toml"), "inherits = \"3cx\"\nauth_user = \"optional\"\n").unwrap();
    assert_eq!(load().unwrap().extensions[0].profile.name, "house.toml");
}

#[test]
fn a_password_file_is_read_without_its_line_end_and_bad_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offhook.toml");
    let text = format!("{AGENTS}{}", EXTENSION.replace("password_env = \"PBX_PASSWORD\"", "password_file = \"pw\""));
    let load = || Config::parse(&file, &text, &environment);
    std::fs::write(folder.path().join("pw"), "s3cret\r\n").unwrap();
    assert_eq!(load().unwrap().extensions[0].password.expose(), "s3cret");
    for (content, reason) in [("", "empty"), ("a\nb\n", "more than one line"), (&*"x".repeat(5_000), "bytes")] {
        std::fs::write(folder.path().join("pw"), content).unwrap();
        assert!(load().unwrap_err().0[0].message.contains(reason), "{reason}");
    }
}

#[test]
fn files_that_are_missing_or_no_text_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Config::load(&folder.path().join("none.toml")).unwrap_err();
    assert!(missing.to_string().contains("none.toml: cannot be read"), "{missing}");
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, b"[server]\nx = \"\xff\xfe\"\n").unwrap();
    let errors = Config::load(&binary).unwrap_err();
    assert_eq!((errors.0[0].line, errors.0[0].column), (2, 6), "{errors}");
    assert!(Config::load(folder.path()).is_err(), "a folder");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let good = format!("{AGENTS}{EXTENSION}{TRUNK}[[tools.host]]\nname = \"ü\"\nports = [1]\n");
    for cut in (0..good.len()).filter(|at| good.is_char_boundary(*at)) {
        let _ = parse(&good[..cut]).map_err(|errors| errors.to_string());
        let mut odd = good.clone();
        odd.insert(cut, '\u{0}');
        let _ = parse(&odd).map_err(|errors| errors.to_string());
        odd.replace_range(cut..=cut, "\"");
        let _ = parse(&odd).map_err(|errors| errors.to_string());
    }
}

#[test]
fn every_key_of_signalling_arrives_where_it_belongs() {
    let config = parse(
        r#"
        [server]
        sip_listen = ["udp:0.0.0.0:5060", "tcp:[::]:5060", "tls:0.0.0.0:5061"]
        advertised_address = "203.0.113.9"
        advertised_addresses = [
            { address = "10.8.0.2", for = ["10.0.0.0/8"] },
            { address = "10.9.0.2", for = ["10.9.0.0/16"] },
        ]
        stun = "stun.example.com:3479"
        dns_servers = ["192.0.2.53", "[2001:db8::53]:5353"]
        control_socket = "run/control.sock"
        tls = { certificate = "sip.pem", key = "sip.key", client_ca = "peers.pem" }
        [[extension]]
        name = "front"
        registrar = "pbx.example.com;transport=tls"
        outbound_proxy = "edge.example.com:5071"
        domain = "example.com"
        user = "1001"
        password = "s"
        realm = "asterisk"
        display_name = "Front desk"
        tls = { ca = "house.pem", certificate = "us.pem", key = "us.key", server_name = "pbx.inside" }
        expires = "3m"
        caller_name = "Example & Co."
        header_variables = ["X-Customer"]
        agent = "echo"
        overrides = { transfer = "bridge", keep_alive = "none" }
        [[trunk]]
        name = "carrier"
        hosts = ["sip.carrier.example", "198.51.100.0/24"]
        transports = ["tls"]
        gateways = ["a.carrier.example;transport=tls", "192.0.2.9:5070"]
        username = "acme"
        password_env = "PBX_PASSWORD"
        realm = "carrier"
        inbound_username = "carrier"
        inbound_password = "theirs"
        inbound_realm = "offhook.example"
        user = "+15550134"
        caller_number = "+15550135"
        privacy = true
        diversion = "+15550136"
        assert_identity = true
        accept_refer = true
        headers = { "X-Token" = "abc" }
        max_calls = 10
        max_calls_per_second = 2
        qualify = "30s"
        allowed_prefixes = ["+49", "0"]
        agent = "echo"
        profile = "generic"
        "#,
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let server = &config.server;
    let transports: Vec<_> = server.sip_listen.iter().map(|listen| listen.transport).collect();
    assert_eq!(transports, [Transport::Udp, Transport::Tcp, Transport::Tls]);
    let shown = server.sip_listen[2].tls.as_ref().unwrap();
    assert_eq!(shown.identity.key_file, Path::new("/etc/offhook/sip.key"));
    assert!(shown.client_ca_file.is_some() && server.sip_listen[0].tls.is_none());
    let addresses: Vec<_> = server.advertised.iter().map(|entry| entry.address.to_string()).collect();
    assert_eq!(addresses, ["10.9.0.2", "10.8.0.2", "203.0.113.9"], "the narrowest network first");
    assert_eq!(server.stun.as_ref().unwrap().port, Some(3479));
    assert_eq!(
        server.dns_servers,
        ["192.0.2.53:53".parse::<SocketAddr>().unwrap(), "[2001:db8::53]:5353".parse().unwrap()]
    );
    assert_eq!(server.control_socket.as_deref(), Some(Path::new("/etc/offhook/run/control.sock")));
    let front = &config.extensions[0];
    assert_eq!(front.registrar.transport, Some(Transport::Tls));
    assert_eq!(front.outbound_proxy.as_ref().unwrap().port, Some(5071));
    assert_eq!((front.domain.as_deref(), front.realm.as_deref()), (Some("example.com"), Some("asterisk")));
    let tls = front.tls.as_ref().unwrap();
    assert_eq!(tls.ca_file.as_deref(), Some(Path::new("/etc/offhook/house.pem")));
    assert_eq!(tls.server_name.as_deref(), Some("pbx.inside"));
    assert!(tls.identity.is_some() && !tls.danger_accept_any_certificate);
    assert_eq!(front.expires, Duration::from_secs(180));
    assert_eq!(front.profile.transfer, TransferBy::Bridge);
    assert_eq!(front.profile.keep_alive, None);
    assert_eq!(front.profile.header_variables, ["X-Customer"]);
    let carrier = &config.trunks[0];
    assert_eq!(carrier.host_names, ["sip.carrier.example", "a.carrier.example"], "gateways may call, too");
    assert_eq!(carrier.networks.len(), 2);
    assert_eq!(carrier.gateways[0].transport, Some(Transport::Tls));
    assert_eq!(carrier.credentials.as_ref().unwrap().auth_user, "acme");
    assert_eq!(carrier.inbound.as_ref().unwrap().realm, "offhook.example");
    assert_eq!((carrier.max_calls, carrier.max_calls_per_second), (Some(10), Some(2)));
    assert_eq!(carrier.qualify, Some(Duration::from_secs(30)));
    assert!(carrier.profile.assert_identity && carrier.profile.accept_refer && !carrier.profile.accept_replaces);
    assert!(carrier.outgoing.is_private);
    assert_eq!(carrier.outgoing.allowed_prefixes, ["+49", "0"]);
    assert_eq!(carrier.outgoing.headers, [("X-Token".to_owned(), "abc".to_owned())]);
}

#[test]
fn listener_and_address_mistakes() {
    mistake_in("[server]\nsip_listen = [\"udp:5060\"]", 2, 15, "not an address and port", "0.0.0.0:5060");
    mistake_in("[server]\nsip_listen = []", 2, 1, "0 addresses", "1 to 16");
    mistake_in("[server]\nsip_listen = \"tls:0.0.0.0:5061\"", 2, 14, "needs a certificate", "[server.tls]");
    let tls = "tls = { certificate = \"a\", key = \"b\" }";
    mistake_in(&format!("[server]\n{tls}"), 2, 1, "nothing listens for TLS", "tls:0.0.0.0:5061");
    mistake_in(&format!("[server]\nsip_listen = \"0.0.0.0:5060\"\n{tls}"), 3, 1, "nothing listens", "tls:");
    mistake_in("[server]\nsip_listen = [\"udp:0.0.0.0:5060\", \"0.0.0.0:5060\"]", 2, 35, "already", "remove");
    mistake_in("[server]\nadvertised_addresses = [{ address = \"10.0.0.1\" }]", 2, 25, "has no `for`", "10.8.0.0/16");
    mistake_in("[server]\ndns_servers = [\"dns\"]", 2, 16, "name server", "192.0.2.53");
    mistake_in("[server]\nstun = \"stun:x\"", 2, 8, "not a STUN server", "stun.example.com");
}

#[test]
fn signalling_mistakes_of_extensions() {
    let add = |line: &str| format!("agent = \"clinic\"\n{line}");
    let mistake = |line: &str, column, message: &str, fix: &str| {
        mistake_in_extension("agent = \"clinic\"", &add(line), 7, column, message, fix);
    };
    mistake("transport = \"tsl\"", 13, "known are", "write \"tls\"");
    mistake("outbound_proxy = \"sip:x\"", 18, "not a host", "pbx.example.com");
    mistake("domain = \"x:5060\"", 10, "not a domain", "without port");
    mistake("display_name = \"a\\u0007\"", 16, "control characters", "name");
    mistake("tls = { certificate = \"a\" }", 23, "go together", "both");
    mistake("tls = { ca = \"a\", danger_accept_any_certificate = true }", 9, "no effect", "danger");
    mistake("overrides = { dtfm = \"info\" }", 15, "no key `dtfm`", "write `dtmf`");
    mistake(
        "overrides = { srtp = \"required\", transport = \"udp\" }",
        1,
        "keys would travel in clear",
        "keying = \"dtls\"",
    );
    mistake("overrides = { srtp = true }", 22, "is true", "write \"required\"");
    mistake("overrides = { keying = \"zrtp\" }", 24, "not a way", "\"dtls\"");
    mistake("headers = { Via = \"x\" }", 11, "protocol itself", "remove");
    mistake("headers = { \"X Y\" = \"x\" }", 11, "not a header name", "hyphens");
    mistake("headers = { X-Y = \"a\\r\\nb\" }", 11, "cannot stand", "one line");
    mistake("header_variables = [\"X:\"]", 21, "not a header name", "X-Customer");
    mistake("allowed_prefixes = [\"\"]", 21, "beginning of a number", "digits");
    mistake("profile = \"twilio\"", 11, "no registrations", "[[trunk]]");
    mistake("max_calls = 5", 1, "no key `max_calls`", "known here");
}

#[test]
fn signalling_mistakes_of_trunks() {
    let mistake = |line: &str, at: usize, column, message: &str, fix: &str| {
        mistake_in_trunk("agent = \"clinic\"", &format!("agent = \"clinic\"\n{line}"), at, column, message, fix);
    };
    mistake("gateways = [\"sip:x\"]", 5, 13, "not a gateway", "transport=tls");
    mistake("qualify = \"30s\"", 5, 1, "no gateway to ask", "gateways");
    mistake("register = true", 5, 1, "no gateway to register", "gateways");
    mistake("username = \"a\"", 5, 1, "has no password", "password_env");
    mistake("password = \"a\"", 1, 1, "has no `username`", "account");
    mistake("inbound_username = \"a\"", 5, 20, "has no password", "inbound_password_env");
    mistake("inbound_password = \"a\"", 1, 1, "has no `inbound_username`", "carrier");
    mistake("transports = [\"ws\"]", 5, 15, "no transport `ws`", "\"tls\"");
    mistake("max_calls = 0", 5, 13, "outside 1", "1 to 100000");
    mistake(
        "profile = \"twilio\"\ngateways = [\"x.pstn.twilio.com\"]\nregister = true",
        7,
        1,
        "no registrations",
        "remove `register`",
    );
    mistake("gateways = [\"x.example\"]\nregister = true", 6, 1, "needs an account", "username");
}

#[test]
fn a_trunk_with_gateways_or_a_carrier_s_profile_needs_no_hosts() {
    let gateways = TRUNK.replace("hosts = [\"203.0.113.7\"]", "gateways = [\"198.51.100.9\", \"sip.example.com\"]");
    let trunk = &parse(&format!("{AGENTS}{gateways}")).unwrap().trunks[0];
    assert_eq!(trunk.networks, ["198.51.100.9/32".parse().unwrap()]);
    assert_eq!(trunk.host_names, ["sip.example.com"]);
    let profile = TRUNK.replace("hosts = [\"203.0.113.7\"]", "profile = \"twilio\"");
    let trunk = &parse(&format!("{AGENTS}{profile}")).unwrap().trunks[0];
    assert_eq!(trunk.networks.len(), 8, "one network in each region");
}

#[test]
fn trunks_of_one_network_may_be_told_apart_by_what_they_have_to_know() {
    let inbound = |name: &str| {
        TRUNK.replace("carrier", name) + &format!("inbound_username = \"{name}\"\ninbound_password = \"s\"\n")
    };
    assert!(parse(&format!("{AGENTS}{}{}", inbound("a"), inbound("b"))).is_ok());
    let errors = parse(&format!("{AGENTS}{}{}", inbound("a"), TRUNK)).unwrap_err();
    assert!(errors.0[0].message.contains("both take calls"), "{errors}");
}

#[test]
fn switches_that_weaken_security_are_named() {
    assert!(parse(&format!("{AGENTS}{EXTENSION}{TRUNK}")).unwrap().dangers().is_empty());
    let wide = TRUNK.replace("203.0.113.7", "0.0.0.0/0") + "danger_allow_any_host = true\n";
    let blind = format!("{EXTENSION}tls = {{ danger_accept_any_certificate = true }}\n");
    let dangers = parse(&format!("{AGENTS}{blind}{wide}")).unwrap().dangers();
    assert_eq!(dangers.len(), 2, "{dangers:?}");
    assert!(dangers[0].contains("`reception` accepts any certificate"), "{dangers:?}");
    assert!(dangers[1].contains("`carrier` takes calls from a large part"), "{dangers:?}");
}

#[test]
fn calls_are_recorded_only_where_a_directory_is_named() {
    let config = |section: &str| parse(&format!("{section}{AGENTS}{EXTENSION}")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config("").recording, None);
    let recording = config("[recording]\ndirectory = \"kept\"\n").recording.unwrap();
    assert_eq!(recording.directory, Path::new("/etc/offhook/kept"));
    mistake_in("[recording]\n", 1, 1, "directory", "directory = ");
    mistake_in("[recording]\ndirectory = \"a\"\nkeep = 3\n", 3, 1, "keep", "directory");
}

#[test]
fn what_waiting_callers_hear_is_read_with_files_beside_the_configuration() {
    let media = "[media]\nhold_music = \"music.wav\"\nringback = \"north-america\"\n";
    let extension = EXTENSION.replace("user = ", "announcement = \"welcome.wav\"\nuser = ");
    let config = parse(&format!("{media}{AGENTS}{extension}")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.media.hold_music.as_deref(), Some(Path::new("/etc/offhook/music.wav")));
    assert_eq!(config.media.ringback, Tone::Ringback);
    assert_eq!(config.extensions[0].announcement.as_deref(), Some(Path::new("/etc/offhook/welcome.wav")));
    mistake_in("[media]\nringback = \"uk\"\n", 2, 12, "ringback", "itu");
    mistake_in_extension("user = ", "announcement = \"a.wav\"\nring = \"2s\"\nuser = ", 4, 16, "exclude", "keep one");
}

#[test]
fn media_settings_arrive_and_mistakes_in_them_are_placed() {
    let media = "[media]\nquarantine = \"20s\"\ncomfort_noise = true\nopus = { sample_rate = 48000, bitrate = 32000, dtx = true }\n";
    let config = parse(&format!("{media}{AGENTS}{EXTENSION}")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.media.quarantine, config.media.comfort_noise), (Duration::from_secs(20), true));
    let opus = config.media.opus;
    assert_eq!((opus.sample_rate.0, opus.bitrate, opus.dtx, opus.fec), (48_000, 32_000, true, true));
    mistake_in("[media]\nopus = { sample_rate = 44100 }", 2, 10, "does not run", "48000");
    mistake_in("[media]\nopus = { bitrate = 1000 }", 2, 20, "outside 6000 to 510000", "6000");
    mistake_in("[media]\nopus = { bit_rate = 16000 }", 2, 10, "no key `bit_rate`", "`bitrate`");
    mistake_in("[media]\nquarantine = \"1h\"", 2, 14, "outside 1s to 2m", "1s");
}

const PROVIDER: &str = "[[provider]]\nname = \"ears\"\nvendor = \"openai\"\nkey_env = \"PBX_PASSWORD\"\n";

#[track_caller]
fn mistake_in_provider(from: &str, to: &str, line: usize, column: usize, message: &str, fix: &str) {
    let changed = PROVIDER.replace(from, to);
    assert_ne!(changed, PROVIDER);
    mistake_in(&changed, line, column, message, fix);
}

#[test]
fn a_provider_arrives_with_its_stages_and_debug_shows_no_key() {
    let text = format!(
        "[providers]\nca_file = \"house.pem\"\n{PROVIDER}concurrency = 7\nfirst_timeout = \"900ms\"\n\
         [provider.language_model]\nmodel = \"m\"\n{AGENTS}{EXTENSION}"
    );
    let config = parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.providers.ca_file.as_deref(), Some(Path::new("/etc/offhook/house.pem")));
    let spec = &config.providers.accounts[0];
    assert_eq!((spec.name.as_str(), spec.vendor.as_str(), spec.concurrency), ("ears", "openai", Some(7)));
    assert_eq!(spec.first_timeout, Some(Duration::from_millis(900)));
    assert_eq!(spec.stages.values().next().and_then(|stage| stage.model.as_deref()), Some("m"));
    assert_eq!(spec.key.as_ref().map(|key| key.expose().as_str()), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn provider_mistakes() {
    mistake_in_provider("name = \"ears\"", "name = \"local\"", 2, 8, "offline engines", "another name");
    mistake_in_provider("\"openai\"", "\"openia\"", 3, 10, "no vendor `openia`", "\"openai\"");
    mistake_in_provider("vendor = \"openai\"\n", "", 1, 1, "has no `vendor`", "vendor");
    mistake_in_provider("PBX_PASSWORD", "MISSING", 4, 11, "`MISSING` is not set", "MISSING=");
    let more = |line: &str| format!("key_env = \"PBX_PASSWORD\"\n{line}");
    let from = "key_env = \"PBX_PASSWORD\"\n";
    mistake_in_provider(from, &more("key = \"x\"\n"), 4, 1, "both given", "keep one");
    mistake_in_provider(from, &more("concurency = 3\n"), 5, 1, "concurency", "concurrency");
    mistake_in_provider(from, &more("url = \"example.com\"\n"), 5, 7, "no URL", "https://");
    mistake_in_provider(from, &more("url = \"http://example.com\"\n"), 5, 7, "without encryption", "https://");
    mistake(&format!("{PROVIDER}{PROVIDER}{AGENTS}{EXTENSION}"), 6, 8, "named `ears` already", "a name of its own");
}

#[test]
fn a_provider_in_clear_is_accepted_here_or_where_the_danger_is_named() {
    let with = |lines: &str| parse(&format!("{PROVIDER}{lines}\n{AGENTS}{EXTENSION}"));
    for url in ["http://127.0.0.1:8000/v1", "ws://localhost:8000", "http://[::1]:8000"] {
        assert!(with(&format!("url = \"{url}\"")).is_ok(), "{url}");
    }
    assert!(with("url = \"http://10.0.0.7:8000\"").is_err());
    assert!(with("url = \"http://10.0.0.7:8000\"\ndanger_allow_plaintext = true").is_ok());
}

#[test]
fn a_provider_s_key_is_read_from_a_file_and_from_a_systemd_credential() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "abc\n").unwrap();
    let directory = folder.path().to_string_lossy().into_owned();
    let look = |name: &str| match name {
        "CREDENTIALS_DIRECTORY" => Some(directory.clone()),
        name => environment(name),
    };
    for key in ["key_file", "key_credential"] {
        let changed = PROVIDER.replace("key_env = \"PBX_PASSWORD\"", &format!("{key} = \"secret\""));
        let text = format!("{changed}{AGENTS}{EXTENSION}");
        let config = Config::parse(&folder.path().join("offhook.toml"), &text, &look).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.providers.accounts[0].key.as_ref().map(|k| k.expose().as_str()), Some("abc"), "{key}");
    }
}

#[test]
fn fixed_lines_are_kept_only_where_a_directory_is_named_and_within_its_size() {
    let read = |section: &str| {
        let config = parse(&format!("{section}{AGENTS}{EXTENSION}")).unwrap_or_else(|errors| panic!("{errors}"));
        config.providers.phrases.map(|phrases| (phrases.directory, phrases.octets))
    };
    assert_eq!(read(""), None);
    assert_eq!(read("[providers]\n"), None);
    assert_eq!(read("[providers]\nphrases = \"lines\"\n"), Some(("/etc/offhook/lines".into(), 256 << 20)));
    let small = "[providers]\nphrases = \"/var/cache/offhook\"\nphrases_mb = 3\n";
    assert_eq!(read(small), Some(("/var/cache/offhook".into(), 3 << 20)));
    mistake_in("[providers]\nphrases_mb = 3", 2, 1, "no fixed lines are kept", "`phrases = \"phrases\"`");
    mistake_in("[providers]\nphrases = \"a\"\nphrases_mb = 0", 3, 14, "outside 1 to 100000", "1");
    mistake_in("[providers]\nphrases = 7", 2, 11, "a string is wanted", "");
    mistake_in("[providers]\nphrase = \"a\"", 2, 1, "no key `phrase`", "`phrases`");
    mistake_in("[providers]\nca_fil = \"a\"", 2, 1, "no key `ca_fil`", "`ca_file`");
}

#[test]
fn stages_of_a_provider_are_read_and_mistakes_in_them_placed_with_the_nearest_right_answer() {
    let text = format!(
        "{PROVIDER}[provider.text_to_speech]\nvoice = \"nova\"\nlanguage = \"en-GB\"\n\
         options = {{ instructions = \"Slowly.\", n = 2, f = 0.5, b = true, l = [1, \"x\"] }}\n{AGENTS}{EXTENSION}"
    );
    let config = parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let stage = config.providers.accounts[0].stages.values().next().expect("a stage");
    assert_eq!((stage.voice.as_deref(), stage.language.as_deref()), (Some("nova"), Some("en-GB")));
    let options = serde_json::to_value(&stage.options).unwrap();
    let wanted = serde_json::json!({"instructions": "Slowly.", "n": 2, "f": 0.5, "b": true, "l": [1, "x"]});
    assert_eq!(options, wanted);
    let with = |lines: &str| format!("{PROVIDER}{lines}");
    mistake_in(&with("[provider.text_to_speach]\n"), 5, 11, "no key `text_to_speach`", "`text_to_speech`");
    mistake_in(&with("[provider.text_to_speech]\nvioce = \"x\""), 6, 1, "no key `vioce`", "`voice`");
    mistake_in(&with("[provider.text_to_speech]\nmodel = 4"), 6, 9, "a string is wanted", "");
    mistake_in(
        &with("[provider.text_to_speech]\noptions = { at = 1979-05-27 }"),
        6,
        13,
        "neither text",
        "vendor's documentation",
    );
    mistake_in(&with("[provider.text_to_speech]\nurl = \"http://10.0.0.7\""), 6, 7, "without encryption", "https://");
    let own = PROVIDER.replace("vendor = \"openai\"", "vendor = \"anthropic\"");
    mistake_in(
        &format!("{own}[provider.speech_to_text]\n"),
        5,
        11,
        "anthropic does no speech to text",
        "offhook providers",
    );
    for (key, wrong, place) in
        [("concurrency", "0", 15), ("connect_timeout", "\"10ms\"", 19), ("stall_timeout", "\"2m\"", 17)]
    {
        mistake_in(&with(&format!("{key} = {wrong}")), 5, place, "outside", "");
    }
}
