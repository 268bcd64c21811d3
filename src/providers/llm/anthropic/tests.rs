use super::super::tests::{Told, agent, answer, call, caller, conversation, prompt, read, settings};
use super::*;

fn anthropic(options: &[(&str, Value)]) -> Anthropic {
    Anthropic::new(&settings(options)).expect("settings")
}

fn body(vendor: &Anthropic, prompt: &Prompt) -> Value {
    serde_json::from_slice(vendor.request(prompt).body.expose()).expect("JSON")
}

fn told(events: &[Value]) -> Result<Told, ProviderError> {
    let events: Vec<(&str, Value)> = events.iter().map(|event| ("named", event.clone())).collect();
    read(anthropic(&[]).reply(), &events)
}

fn kind(events: &[Value]) -> &'static str {
    told(events).err().map_or("none", |error| error.kind())
}

fn start() -> Value {
    let usage =
        json!({"input_tokens": 6, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 90, "output_tokens": 1});
    json!({"type": "message_start", "message": {"id": "msg", "usage": usage}})
}

fn block(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn says(text: &str) -> Value {
    delta(0, json!({"type": "text_delta", "text": text}))
}

fn stop(reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 12}})
}

fn end() -> Value {
    json!({"type": "message_stop"})
}

#[test]
fn roles_alternate_begin_with_the_user_and_results_stand_before_words() {
    let interrupted = prompt(vec![
        agent("Clinic, hello.", vec![]),
        caller("Monday?"),
        agent("", vec![call("a", json!({"day": "Monday"}))]),
        caller("No, Tuesday."),
        answer("a", "late", true),
        caller("Please."),
    ]);
    let body = body(&anthropic(&[]), &interrupted);
    let messages = body["messages"].as_array().expect("messages");
    let roles: Vec<&str> = messages.iter().filter_map(|message| message["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant", "user"]);
    assert_eq!(messages[3]["content"][0]["type"], "tool_use");
    let last: Vec<&str> =
        messages[4]["content"].as_array().into_iter().flatten().filter_map(|block| block["type"].as_str()).collect();
    assert_eq!(last, ["tool_result", "text", "text"]);
    assert_eq!(messages[4]["content"][0]["is_error"], true);
}

#[test]
fn the_cache_ends_behind_tools_instructions_and_the_last_message() {
    let marked = |vendor: &Anthropic| body(vendor, &conversation()).to_string().matches("cache_control").count();
    let with = body(&anthropic(&[]), &conversation());
    let ephemeral = json!({"type": "ephemeral"});
    assert_eq!(with["tools"][0]["cache_control"], ephemeral);
    assert_eq!(with["system"][0]["cache_control"], ephemeral);
    let last =
        with["messages"].as_array().and_then(|m| m.last()).and_then(|m| m["content"].as_array()?.last().cloned());
    assert_eq!(last.map(|block| block["cache_control"].clone()), Some(ephemeral));
    assert_eq!(marked(&anthropic(&[])), 3, "four are allowed");
    assert_eq!(marked(&anthropic(&[("cache", json!("off"))])), 0);
    let hour = body(&anthropic(&[("cache", json!("1h"))]), &conversation());
    assert_eq!(hour["system"][0]["cache_control"]["ttl"], "1h");
    assert!(Anthropic::new(&settings(&[("cache", json!("2h"))])).is_err());
}

#[test]
fn the_prompt_s_bytes_up_to_the_mark_stay_the_same() {
    let all = conversation();
    let start = |turns: usize| {
        let prompt = Prompt { messages: all.messages[..turns].to_vec(), ..all.clone() };
        let text = String::from_utf8(anthropic(&[]).request(&prompt).body.expose().to_vec()).expect("text");
        let (start, _) = text.rsplit_once(",\"cache_control\"").expect("a mark");
        start.to_owned()
    };
    let (two, seven) = (start(2), start(7));
    assert!(seven.starts_with(&two), "\n{two}\n{seven}");
}

#[test]
fn a_conversation_about_tools_declares_them_when_none_may_be_called_any_more() {
    let over = Prompt { tools: vec![], ..conversation() };
    let gone = body(&anthropic(&[]), &over);
    assert_eq!((&gone["tools"][0]["name"], &gone["tool_choice"]["type"]), (&json!("look"), &json!("none")));
    let plain = Prompt { tools: vec![], messages: vec![caller("a")], ..conversation() };
    assert!(body(&anthropic(&[]), &plain).get("tools").is_none());
}

#[test]
fn key_and_version_go_in_their_headers() {
    let request = anthropic(&[]).request(&conversation());
    let header = |name: &str| request.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.expose().clone());
    assert_eq!((header("x-api-key"), header("anthropic-version")), (Some("secret".into()), Some(VERSION.into())));
    assert_eq!(request.url, "https://vendor.example/v1/messages");
    assert!(!format!("{request:?}").contains("secret"));
    let bearer = anthropic(&[("auth", json!("bearer"))]).request(&conversation());
    let sent = bearer.headers.iter().any(|(name, value)| *name == "authorization" && value.expose() == "Bearer secret");
    assert!(sent && bearer.headers.iter().all(|(name, _)| *name != "x-api-key"));
}

#[test]
fn sampling_parameters_are_sent_in_the_version_that_knows_them() {
    let version = |options: &[(&str, Value)]| Anthropic::new(&settings(options)).map(|vendor| vendor.version);
    assert_eq!(version(&[]), Ok(VERSION.into()));
    assert_eq!(version(&[("temperature", json!(0.4))]), Ok(SAMPLING_VERSION.into()));
    assert_eq!(version(&[("anthropic_version", json!("2030-01-01"))]), Ok("2030-01-01".into()));
    assert!(version(&[("top_p", json!(0.4)), ("anthropic_version", json!(VERSION))]).is_err());
}

#[test]
fn text_is_handed_on_and_cached_tokens_are_counted_into_the_input() {
    let events = [
        start(),
        block(0, json!({"type": "text", "text": ""})),
        json!({"type": "ping"}),
        says("Hel"),
        says("lo."),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "of_tomorrow"}),
        stop("end_turn"),
        end(),
    ];
    let usage = Usage { input_tokens: 100, cached_tokens: 90, output_tokens: 12 };
    let expected = Told { words: "Hello.".into(), calls: vec![], finish: Some((Finish::Complete, usage)) };
    assert_eq!(told(&events), Ok(expected));
}

#[test]
fn a_tool_call_grows_by_json_and_may_have_no_arguments() {
    let json = |index, part: &str| delta(index, json!({"type": "input_json_delta", "partial_json": part}));
    let tool = |index, id: &str| block(index, json!({"type": "tool_use", "id": id, "name": "look", "input": {}}));
    let events = [
        start(),
        says("One moment."),
        tool(1, "a"),
        json(1, ""),
        json(1, "{\"day\": "),
        json(1, "\"Monday\"}"),
        tool(2, "b"),
        json(2, ""),
        stop("tool_use"),
        end(),
    ];
    let told = told(&events).expect("an answer");
    assert_eq!(told.calls, [call("a", json!({"day": "Monday"})), call("b", json!({}))]);
    assert_eq!(told.finish.map(|(finish, _)| finish), Some(Finish::ToolCalls));
}

#[test]
fn thinking_is_not_said_and_is_shown_again_with_the_call_it_led_to() {
    let events = [
        start(),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "They want "})),
        delta(0, json!({"type": "thinking_delta", "thinking": "Monday."})),
        delta(0, json!({"type": "signature_delta", "signature": "sig"})),
        block(1, json!({"type": "tool_use", "id": "a", "name": "look", "input": {}})),
        stop("tool_use"),
        end(),
    ];
    let told = told(&events).expect("an answer");
    assert_eq!(told.words, "");
    let again = prompt(vec![caller("Monday?"), agent("", told.calls), answer("a", "free", false)]);
    let body = body(&anthropic(&[]), &again);
    let thinking = json!({"type": "thinking", "thinking": "They want Monday.", "signature": "sig"});
    assert_eq!(body["messages"][1]["content"][0], thinking);
    assert_eq!(body["messages"][1]["content"][1]["type"], "tool_use");
}

#[test]
fn every_reason_to_stop_has_its_meaning() {
    let of =
        |reason: &str| told(&[says("a"), stop(reason), end()]).ok().and_then(|t| t.finish).map(|(finish, _)| finish);
    assert_eq!(of("end_turn"), Some(Finish::Complete));
    assert_eq!(of("stop_sequence"), Some(Finish::Complete));
    assert_eq!(of("pause_turn"), Some(Finish::Complete));
    assert_eq!(of("max_tokens"), Some(Finish::Length));
    assert_eq!(of("model_context_window_exceeded"), Some(Finish::Length));
    assert_eq!(of("refusal"), Some(Finish::Refused));
    assert_eq!(of("tool_use"), Some(Finish::ToolCalls));
}

#[test]
fn an_error_within_the_stream_is_told_by_its_type() {
    let of = |kind_of: &str| {
        kind(&[start(), says("a"), json!({"type": "error", "error": {"type": kind_of, "message": "x"}})])
    };
    assert_eq!(of("overloaded_error"), "transient");
    assert_eq!(of("rate_limit_error"), "rate_limited");
    assert_eq!(of("authentication_error"), "authentication");
    assert_eq!(of("invalid_request_error"), "bad_request");
    assert_eq!(of("billing_error"), "quota");
}

#[test]
fn a_refused_request_tells_an_empty_account_from_haste() {
    let of = |status: u16, error: Value| {
        let body = json!({"type": "error", "error": error}).to_string();
        anthropic(&[]).refused(Refusal { status, body, retry_after: None }).kind()
    };
    assert_eq!(of(529, json!({"type": "overloaded_error"})), "transient");
    assert_eq!(of(429, json!({"type": "rate_limit_error"})), "rate_limited");
    let limit = json!({"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}});
    assert_eq!(of(429, limit), "quota");
    let credit = json!({"type": "invalid_request_error", "message": "Your credit balance is too low to access …"});
    assert_eq!(of(400, credit), "quota");
    assert_eq!(of(413, json!({"type": "request_too_large"})), "bad_request");
}

#[test]
fn a_stream_without_a_reason_to_stop_has_ended_too_early() {
    assert_eq!(kind(&[start(), says("Hel")]), "transient");
    assert_eq!(kind(&[start(), says("Hello."), stop("end_turn")]), "none", "only the very last event is missing");
    assert_eq!(kind(&[Value::Null]), "protocol");
    assert_eq!(kind(&[json!({"type": 7}), stop("end_turn")]), "none");
}
