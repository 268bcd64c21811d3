//! The door in front of every tool: closed list, typed arguments, approval, budget (security class 18).
//!
//! Whatever talked the agent into a call (a caller, a model, a tool's answer), only what the agent file
//! declares passes. [`HttpTools`](super::HttpTools) runs [`Admitted`] calls and no others.

use super::limits::{ARGUMENTS, CALLS_PER_PHONE_CALL, IDEMPOTENCY_KEY_CHARS, TIME_PER_PHONE_CALL};
use super::set::{HttpTool, ToolSet, plain};
use crate::agent::ToolFailure;
use crate::agent::tool::{Argument, Place};
use crate::base::{CallId, Pii};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// What one phone call may spend on tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallBudget {
    /// Tool calls.
    pub calls: u32,
    /// Time waited for tools, retries included.
    pub time: Duration,
}

impl Default for CallBudget {
    fn default() -> Self {
        Self { calls: CALLS_PER_PHONE_CALL, time: TIME_PER_PHONE_CALL }
    }
}

/// A tool call as the conversation asks for it: the fields of `Effect::CallTool`.
#[derive(Clone, Debug)]
pub struct ToolRequest {
    /// A tool id.
    pub tool: String,
    /// Its arguments.
    pub arguments: Pii<Map<String, Value>>,
    /// The same for each repetition of the same action.
    pub idempotency_key: String,
    /// Whether the flow read the arguments back and the caller said yes.
    pub confirmed: bool,
}

/// A call that passed the gate; only [`Gate::admit`] makes one.
#[derive(Debug)]
pub struct Admitted {
    pub(super) call: CallId,
    pub(super) tool: Arc<HttpTool>,
    pub(super) arguments: Pii<Map<String, Value>>,
    pub(super) idempotency_key: String,
    pub(super) time: Duration,
}

/// Why a call was not let through. Argument names are the agent file's, so they are safe to log; a name
/// that is not declared is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The argument's text is longer than declared, or holds control characters.
    #[error("argument {0} is too long, or holds control characters")]
    ArgumentText(String),
    /// The argument does not have its declared type.
    #[error("argument {name} is not a {kind}")]
    ArgumentType {
        /// The argument.
        name: String,
        /// Its declared kind.
        kind: &'static str,
    },
    /// This phone call has used up its tool calls or its time for tools.
    #[error("this call has used up its budget of {0}")]
    Budget(&'static str),
    /// A required argument is missing.
    #[error("argument {0} is missing")]
    Missing(String),
    /// The tool wants the caller's yes first.
    #[error("the tool wants a confirmed read-back first")]
    NotConfirmed,
    /// The idempotency key is empty, too long or not printable ASCII.
    #[error("the idempotency key is not 1 to {IDEMPOTENCY_KEY_CHARS} printable ASCII characters")]
    Key,
    /// An argument nobody declared, or too many.
    #[error("an argument that the tool does not declare")]
    Undeclared,
    /// No tool of this agent has the id.
    #[error("no such tool in this agent")]
    UnknownTool,
}

impl From<Denied> for ToolFailure {
    fn from(denied: Denied) -> Self {
        let kind = match denied {
            Denied::Budget(_) => "budget_used_up",
            Denied::NotConfirmed => "not_confirmed",
            Denied::UnknownTool | Denied::Key => "not_allowed",
            _ => "bad_arguments",
        };
        Self::new(kind, denied.to_string())
    }
}

/// The gate of one phone call.
#[derive(Debug)]
pub struct Gate {
    call: CallId,
    tools: Arc<ToolSet>,
    budget: CallBudget,
    calls: u32,
    spent: Duration,
}

impl Gate {
    /// A gate with its whole budget.
    #[must_use]
    pub fn new(call: CallId, tools: Arc<ToolSet>, budget: CallBudget) -> Self {
        Self { call, tools, budget, calls: 0, spent: Duration::ZERO }
    }

    /// Checks one call and writes its refusal to the audit log. The caller runs the admitted call and
    /// then reports its time with [`Gate::settle`].
    ///
    /// # Errors
    /// [`Denied`]; nothing is sent and only a call of a known tool costs budget.
    pub fn admit(&mut self, request: ToolRequest) -> Result<Admitted, Denied> {
        self.check(request)
            .inspect_err(|(tool, denied)| {
                tracing::warn!(target: "offhook::audit", call = %self.call, tool, reason = %denied, "tool_call_denied");
            })
            .map_err(|(_, denied)| denied)
    }

    fn check(&mut self, request: ToolRequest) -> Result<Admitted, (String, Denied)> {
        // An undeclared id is a stranger's text: it is not repeated.
        let Some(tool) = self.tools.tool(&request.tool).map(Arc::clone) else {
            return Err(("?".to_owned(), Denied::UnknownTool));
        };
        let denied = |denied| Err((tool.id().to_owned(), denied));
        if self.calls >= self.budget.calls {
            return denied(Denied::Budget("tool calls"));
        }
        let left = self.budget.time.saturating_sub(self.spent);
        if left.is_zero() {
            return denied(Denied::Budget("time for tools"));
        }
        self.calls += 1;
        if tool.confirm && !request.confirmed {
            return denied(Denied::NotConfirmed);
        }
        let key = &request.idempotency_key;
        if key.is_empty() || key.len() > IDEMPOTENCY_KEY_CHARS || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return denied(Denied::Key);
        }
        if let Err(error) = check_arguments(&tool, request.arguments.expose()) {
            return denied(error);
        }
        Ok(Admitted {
            call: self.call,
            time: tool.timeout.min(left),
            arguments: request.arguments,
            idempotency_key: request.idempotency_key,
            tool,
        })
    }

    /// Charges the time a call took, also when it failed.
    pub fn settle(&mut self, took: Duration) {
        self.spent = self.spent.saturating_add(took);
    }
}

fn check_arguments(tool: &HttpTool, arguments: &Map<String, Value>) -> Result<(), Denied> {
    if arguments.len() > ARGUMENTS || arguments.keys().any(|name| tool.arguments.iter().all(|a| a.name != *name)) {
        return Err(Denied::Undeclared);
    }
    tool.arguments.iter().try_for_each(|declared| match arguments.get(&declared.name) {
        Some(value) => check_argument(declared, value),
        None if declared.required => Err(Denied::Missing(declared.name.clone())),
        None => Ok(()),
    })
}

fn check_argument(declared: &Argument, value: &Value) -> Result<(), Denied> {
    if !declared.kind.admits(value) {
        return Err(Denied::ArgumentType { name: declared.name.clone(), kind: declared.kind.name() });
    }
    let text = plain(value);
    let bad_character = |c: char| c.is_control() && !(declared.place == Place::Body && matches!(c, '\n' | '\t'));
    // A path segment that is empty or all dots would climb out of its place.
    let climbs = declared.place == Place::Path && matches!(text.as_str(), "" | "." | "..");
    if text.chars().count() > declared.max_chars || text.chars().any(bad_character) || climbs {
        return Err(Denied::ArgumentText(declared.name.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::policy::EgressPolicy;
    use super::super::set::tests::booking_tool;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn gate(budget: CallBudget) -> Gate {
        let tools = ToolSet::new(&[booking_tool()], &EgressPolicy::default(), &|_| Some("x".into())).unwrap();
        Gate::new(CallId(1), Arc::new(tools), budget)
    }

    fn request(arguments: Value) -> ToolRequest {
        ToolRequest {
            tool: "book".into(),
            arguments: Pii::new(arguments.as_object().unwrap().clone()),
            idempotency_key: "call-000001/book/1".into(),
            confirmed: true,
        }
    }

    fn good() -> Value {
        json!({"clinic": "north", "name": "Anna Berg", "date": "2026-11-24"})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut arguments = good();
        arguments[name] = value;
        arguments
    }

    #[test]
    fn a_declared_and_confirmed_call_passes() {
        let admitted = gate(CallBudget::default()).admit(request(good())).unwrap();
        assert_eq!(admitted.time, Duration::from_secs(5));
    }

    #[test]
    fn a_tool_outside_the_closed_list_is_denied() {
        for tool in ["transfer", "book ", "Book", "", "book\0", "https://evil.example/"] {
            let request = ToolRequest { tool: tool.into(), ..request(good()) };
            assert_eq!(gate(CallBudget::default()).admit(request).unwrap_err(), Denied::UnknownTool, "{tool:?}");
        }
    }

    #[test]
    fn an_unconfirmed_call_of_a_confirm_tool_is_denied() {
        let request = ToolRequest { confirmed: false, ..request(good()) };
        let failure = ToolFailure::from(gate(CallBudget::default()).admit(request).unwrap_err());
        assert_eq!(failure.kind, "not_confirmed");
    }

    #[test]
    fn arguments_of_the_wrong_type_length_or_name_are_denied() {
        for (arguments, expected) in [
            (with("date", json!("tomorrow")), Denied::ArgumentType { name: "date".into(), kind: "date" }),
            (with("name", json!({"$ne": ""})), Denied::ArgumentType { name: "name".into(), kind: "name" }),
            (with("name", json!("x".repeat(41))), Denied::ArgumentText("name".into())),
            (with("name", json!("Anna\u{0}")), Denied::ArgumentText("name".into())),
            (with("note", json!("a\r\nb")), Denied::ArgumentText("note".into())),
            (with("clinic", json!("..")), Denied::ArgumentText("clinic".into())),
            (with("clinic", json!("")), Denied::ArgumentText("clinic".into())),
            (with("url", json!("https://evil.example")), Denied::Undeclared),
            (json!({"clinic": "north", "name": "Anna Berg"}), Denied::Missing("date".into())),
        ] {
            assert_eq!(gate(CallBudget::default()).admit(request(arguments)).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_key_that_could_break_a_header_is_denied() {
        for key in ["", "a b", "a\r\nX: y", "ключ", &"k".repeat(IDEMPOTENCY_KEY_CHARS + 1)] {
            let request = ToolRequest { idempotency_key: key.into(), ..request(good()) };
            assert_eq!(gate(CallBudget::default()).admit(request).unwrap_err(), Denied::Key);
        }
    }

    #[test]
    fn a_phone_call_cannot_spend_more_than_its_budget_of_calls() {
        let mut gate = gate(CallBudget { calls: 3, ..CallBudget::default() });
        for _ in 0..2 {
            assert!(gate.admit(request(good())).is_ok());
        }
        assert!(gate.admit(request(json!({}))).is_err(), "a denied call of a known tool costs too");
        assert_eq!(gate.admit(request(good())).unwrap_err(), Denied::Budget("tool calls"));
    }

    #[test]
    fn a_phone_call_cannot_spend_more_than_its_budget_of_time() {
        let mut gate = gate(CallBudget { time: Duration::from_secs(6), ..CallBudget::default() });
        assert_eq!(gate.admit(request(good())).unwrap().time, Duration::from_secs(5));
        gate.settle(Duration::from_secs(4));
        assert_eq!(gate.admit(request(good())).unwrap().time, Duration::from_secs(2), "only what is left");
        gate.settle(Duration::from_secs(3));
        assert_eq!(gate.admit(request(good())).unwrap_err(), Denied::Budget("time for tools"));
    }

    /// Values as an attacker would choose them, and now and then good ones.
    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!("north")),
            Just(json!("Anna Berg")),
            Just(json!("2026-11-24")),
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,60}".prop_map(Value::from),
            prop::collection::vec(".{0,5}", 0..4).prop_map(Value::from),
            Just(json!({"$ne": null})),
            Just(json!("../../admin")),
            Just(json!("x\r\nHost: evil")),
        ]
    }

    fn any_name() -> impl Strategy<Value = String> {
        prop_oneof![
            8 => prop::sample::select(vec!["clinic", "name", "date", "note"]).prop_map(str::to_owned),
            1 => ".{0,8}",
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_admitted_fits_its_declaration_and_stays_on_its_host(
            changes in prop::collection::vec((any_name(), any_value()), 0..3),
            confirmed in prop::bool::weighted(0.9),
        ) {
            let mut arguments = good().as_object().unwrap().clone();
            arguments.extend(changes);
            let request = ToolRequest {
                tool: "book".into(),
                arguments: Pii::new(arguments),
                idempotency_key: "k".into(),
                confirmed,
            };
            if let Ok(admitted) = gate(CallBudget::default()).admit(request) {
                prop_assert!(confirmed);
                let arguments = admitted.arguments.expose();
                for (name, value) in arguments {
                    let declared = admitted.tool.arguments.iter().find(|a| a.name == *name);
                    prop_assert!(declared.is_some_and(|a| a.kind.admits(value)));
                    prop_assert!(value.as_str().is_none_or(|text| text.chars().count() <= 40));
                }
                let url = admitted.tool.filled_url(&EgressPolicy::default(), arguments).unwrap();
                prop_assert_eq!(url.url().host_str(), Some("booking.example"));
                let path = url.url().path();
                prop_assert!(path.starts_with("/v1/") && path.ends_with("/bookings"), "{}", path);
                prop_assert_eq!(path.matches('/').count(), 3);
            }
        }
    }
}
