//! The verdict on a provider: its key, the way to it, how fast it answers.

use super::verdict::Finding;
use crate::cli::providers::Entry;
use crate::cli::providers::probe::{self, Outcome};
use crate::cli::speech_check::sunset_words;
use crate::providers::ProviderError;
use crate::providers::listing::{KeyState, Listing};
use crate::providers::reach::reach;
use crate::providers::registry::Registry;
use std::time::Duration;

/// A first word or sound after this long is heard as a pause.
const SLOW: Duration = Duration::from_millis(1_000);

/// Looks at one provider. It is asked for one word, which costs a fraction of a cent.
pub(super) async fn examine(registry: &Registry, entry: &Entry) -> Vec<Finding> {
    let stage = entry.stage.name();
    let Some(listing) = registry.listing(entry.stage, &entry.name) else {
        let says = format!("{} is no provider of {}", entry.name, stage.replace('_', " "));
        return vec![Finding::fail(stage, says, "`offhook check` shows where it is named")];
    };
    let mut findings = vec![key(stage, &listing)];
    if let Some(sunset) = listing.sunset {
        let fix = "set `model` in its [[provider]]";
        findings.push(Finding::warn(stage, sunset_words(&listing.model, sunset), fix));
    }
    let made = match registry.probe(entry.stage, &entry.name) {
        Ok(made) => made,
        // The finding about the key says it already.
        Err(_) if matches!(listing.key, KeyState::Missing(_)) => return findings,
        Err(error) => {
            findings.push(Finding::fail(stage, error.to_string(), "change its [[provider]]"));
            return findings;
        }
    };
    match reach(registry.network(), &listing.url).await {
        Ok(took) => findings.push(Finding::ok(stage, format!("connected in {} ms", took.as_millis()))),
        Err(reason) => {
            findings.push(Finding::fail(stage, reason.to_string(), reason.fix()));
            return findings;
        }
    }
    findings.push(answer(stage, &probe::once(&made).await));
    findings
}

fn key(stage: &'static str, listing: &Listing) -> Finding {
    match listing.key {
        KeyState::Configured => Finding::ok(stage, "the key is configured"),
        KeyState::Environment(variable) => Finding::ok(stage, format!("the key comes from {variable}")),
        KeyState::NotNeeded => Finding::ok(stage, "no key is needed"),
        KeyState::Missing(variable) => {
            let fix = "set it, or write a [[provider]] with key_env, key_file or key_credential";
            Finding::fail(stage, format!("there is no key: {variable} is not set"), fix)
        }
    }
}

fn answer(stage: &'static str, outcome: &Result<Outcome, ProviderError>) -> Finding {
    match outcome {
        Ok(outcome) => {
            let says = format!("first answer after {} ms", outcome.first.as_millis());
            if outcome.first > SLOW {
                return Finding::warn(stage, says, "choose a region near this machine by `url`, or a faster model");
            }
            Finding::ok(stage, says)
        }
        Err(error) => Finding::fail(stage, error.to_string(), probe::fix(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::verdict::Level;

    #[test]
    fn a_slow_answer_is_a_warning_and_a_refused_key_a_failure_with_its_fix() {
        let ms = Duration::from_millis;
        let of = |first| answer("language_model", &Ok(Outcome { first, whole: first, costs: "tokens" }));
        assert_eq!((of(ms(300)).level, of(ms(1_500)).level), (Level::Ok, Level::Warn));
        let refused = ProviderError::Authentication { provider: "v".into(), reason: "status 401".into() };
        let finding = answer("language_model", &Err(refused));
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.fix.contains("new key"), "{}", finding.fix);
    }
}
