//! The command line as people and scripts meet it: help with examples, exit codes, clear errors.

use std::process::{Command, Output};

fn offhook(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_offhook")).args(arguments).output().expect("offhook starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        "demo",
        "serve",
        "check",
        "call",
        "connect",
        "doctor",
        "load",
        "status",
        "profiles",
        "providers",
        "models",
        "booking-service",
    ] {
        let output = offhook(&[command, "--help"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("Example"), "{command}:\n{text}");
    }
}

#[test]
fn a_missing_configuration_names_the_file_and_fails() {
    for command in ["serve", "call"] {
        let arguments: &[&str] =
            if command == "call" { &["call", "600", "-c", "missing.toml"] } else { &["serve", "-c", "missing.toml"] };
        let output = offhook(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("missing.toml"), "{}", stderr(&output));
    }
}

#[test]
fn the_example_agent_is_good_and_the_broken_one_is_refused_with_positions() {
    let root = env!("CARGO_MANIFEST_DIR");
    assert!(offhook(&["check", &format!("{root}/examples/clinic.yaml")]).status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yaml");
    std::fs::write(&file, "agent: x\nstart: hello\nnodes:\n  hello: {say: Hi., next: nowhere}\n").unwrap();
    let output = offhook(&["check", &file.to_string_lossy()]);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("broken.yaml:4:"), "{text}");
}

#[test]
fn a_configuration_is_checked_with_the_agents_it_names() {
    let root = env!("CARGO_MANIFEST_DIR");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offhook.toml");
    let check = |agents: &str| {
        let text = format!("{agents}\n[[trunk]]\nname = \"t\"\nhosts = [\"127.0.0.1\"]\nagent = \"clinic\"\n");
        std::fs::write(&file, text).unwrap();
        let output = offhook(&["check", &file.to_string_lossy()]);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (good, text) = check(&format!("[agents]\nclinic = \"{root}/examples/clinic.yaml\""));
    assert!(good && text.contains("agent `"), "{text}");
    let agent = std::fs::read_to_string(format!("{root}/examples/clinic.yaml")).unwrap();
    let through = |way: &str| {
        let text = agent.replacen("    extension: \"20\"", &format!("    extension: \"20\"\n    through: {way}"), 1);
        std::fs::write(folder.path().join("clinic.yaml"), text).unwrap();
        check(
            "[agents]\nclinic = \"clinic.yaml\"\n[[trunk]]\nname = \"carrier\"\ngateways = [\"192.0.2.1\"]\nagent = \"clinic\"",
        )
    };
    let (good, text) = through("carrier");
    assert!(good, "{text}");
    let (good, text) = through("carier");
    assert!(!good && text.contains("clinic.yaml:70:14") && text.contains("write `carrier`"), "{text}");
    let (good, text) = check("[agents]\nclinc = \"x.yaml\"");
    assert!(!good && text.contains("offhook.toml:6:"), "{text}");
}

#[test]
fn missing_models_are_named_with_the_command_that_fetches_them() {
    let folder = tempfile::tempdir().unwrap();
    let output = offhook(&["models", "verify", "--models", &folder.path().to_string_lossy()]);
    assert_eq!(output.status.code(), Some(1));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(text.contains("offhook models fetch"), "{text}");
}

#[test]
fn a_port_in_use_says_so_and_what_to_do() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offhook.toml");
    let text = format!(
        "[server]\nsip_listen = \"{}\"\n[[trunk]]\nname = \"t\"\nhosts = [\"127.0.0.1\"]\nagent = \"echo\"\n",
        taken.local_addr().unwrap()
    );
    std::fs::write(&file, text).unwrap();
    let output = offhook(&["serve", "-c", &file.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot listen for SIP"), "{}", stderr(&output));
}
