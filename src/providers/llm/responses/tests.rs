use super::super::tests::{Told, call, conversation, read, settings};
use super::*;

fn responses(options: &[(&str, Value)]) -> Responses {
    Responses::new(&settings(options)).expect("settings")
}

fn told(events: &[Value]) -> Result<Told, ProviderError> {
    let events: Vec<(&str, Value)> = events.iter().map(|event| ("named", event.clone())).collect();
    read(responses(&[]).reply(), &events)
}

fn kind(events: &[Value]) -> &'static str {
    told(events).err().map_or("none", |error| error.kind())
}

fn says(text: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": text, "sequence_number": 4})
}

fn completed() -> Value {
    let usage = json!({"input_tokens": 30, "input_tokens_details": {"cached_tokens": 24}, "output_tokens": 4});
    json!({"type": "response.completed", "response": {"status": "completed", "usage": usage}})
}

#[test]
fn the_conversation_is_told_in_the_interface_s_words_and_not_stored() {
    let request =
        responses(&[("reasoning_effort", json!("low")), ("verbosity", json!("low"))]).request(&conversation());
    assert_eq!(request.url, "https://vendor.example/v1/responses");
    let body: Value = serde_json::from_slice(request.body.expose()).expect("JSON");
    assert_eq!((&body["store"], &body["stream"]), (&json!(false), &json!(true)));
    assert_eq!(body["instructions"], "You answer the telephone.");
    assert_eq!((&body["reasoning"]["effort"], &body["text"]["verbosity"]), (&json!("low"), &json!("low")));
    assert_eq!(body["tools"][0]["name"], "look", "flat, not within `function`");
    let items = body["input"].as_array().expect("items");
    assert_eq!(items[3], json!({"role": "assistant", "content": "One moment."}));
    let asked = json!({"type": "function_call", "call_id": "a", "name": "look", "arguments": "{\"day\":\"Monday\"}"});
    assert_eq!(items[4], asked);
    let failed = json!({"type": "function_call_output", "call_id": "b", "output": "{\"error\":\"Give a day.\"}"});
    assert_eq!(items[7], failed);
}

#[test]
fn the_prompt_s_bytes_up_to_the_last_turn_stay_the_same() {
    let all = conversation();
    let start = |turns: usize| {
        let prompt = Prompt { messages: all.messages[..turns].to_vec(), ..all.clone() };
        let text = String::from_utf8(responses(&[]).request(&prompt).body.expose().to_vec()).expect("text");
        text.split_once("],\"stream\"").expect("input before settings").0.to_owned()
    };
    assert!(start(7).starts_with(&start(5)) && start(5).starts_with(&start(2)));
}

#[test]
fn a_model_that_reasons_is_asked_not_to() {
    let with = |model: &str| {
        let settings = Settings { model: model.into(), ..settings(&[]) };
        Responses::new(&settings).expect("settings").body(&conversation())["reasoning"]["effort"].clone()
    };
    assert_eq!((with("gpt-5.4-mini"), with("gpt-4.1")), (json!("none"), Value::Null));
}

#[test]
fn text_is_handed_on_and_the_usage_counted() {
    let told = told(&[
        json!({"type": "response.created", "response": {}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "m"}}),
        says("Hel"),
        says("lo."),
        json!({"type": "response.output_text.done", "text": "Hello."}),
        json!({"type": "response.invented_tomorrow"}),
        completed(),
    ]);
    let usage = Usage { input_tokens: 30, cached_tokens: 24, output_tokens: 4 };
    let expected = Told { words: "Hello.".into(), calls: vec![], finish: Some((Finish::Complete, usage)) };
    assert_eq!(told, Ok(expected));
}

#[test]
fn calls_find_their_id_and_name_by_the_place_of_their_item() {
    let item = |arguments: &str| json!({"type": "function_call", "id": "fc", "call_id": "a", "name": "look", "arguments": arguments});
    let delta = |delta: &str| json!({"type": "response.function_call_arguments.delta", "item_id": "fc", "output_index": 1, "delta": delta});
    let begun = json!({"type": "response.output_item.added", "output_index": 1, "item": item("")});
    let whole = item("{\"day\":\"Monday\"}");
    let done = json!({"type": "response.output_item.done", "output_index": 1, "item": whole});
    let by_pieces = told(&[says("One moment."), begun.clone(), delta("{\"day\":"), delta("\"Monday\"}"), completed()]);
    let by_item = told(&[says("One moment."), begun, delta("{\"da"), done, completed()]);
    assert_eq!(by_pieces, by_item, "the last word is the item's");
    let told = by_pieces.expect("an answer");
    assert_eq!(told.calls, [call("a", json!({"day": "Monday"}))]);
    assert_eq!(told.finish.map(|(finish, _)| finish), Some(Finish::ToolCalls));
}

#[test]
fn an_answer_can_be_incomplete_refused_or_filtered() {
    let incomplete = |reason: &str| {
        let event = json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": reason}}});
        told(&[says("a"), event]).ok().and_then(|told| told.finish).map(|(finish, _)| finish)
    };
    assert_eq!(incomplete("max_output_tokens"), Some(Finish::Length));
    assert_eq!(incomplete("content_filter"), Some(Finish::Filtered));
    let refusal = told(&[json!({"type": "response.refusal.delta", "delta": "I cannot"}), completed()]).expect("an end");
    assert_eq!((refusal.words.as_str(), refusal.finish.map(|(finish, _)| finish)), ("", Some(Finish::Refused)));
    let policy = json!({"type": "response.failed", "response": {"error": {"code": "bio_policy", "message": "x"}}});
    assert_eq!(told(&[policy]).ok().and_then(|told| told.finish).map(|(finish, _)| finish), Some(Finish::Filtered));
}

#[test]
fn failures_within_the_stream_are_told_by_their_kind() {
    let failed = |code: &str| json!({"type": "response.failed", "response": {"error": {"code": code, "message": "x"}}});
    assert_eq!(kind(&[failed("server_error")]), "transient");
    assert_eq!(kind(&[failed("rate_limit_exceeded")]), "rate_limited");
    assert_eq!(kind(&[failed("insufficient_quota")]), "quota");
    assert_eq!(kind(&[failed("invalid_prompt")]), "bad_request");
    assert_eq!(kind(&[json!({"type": "error", "code": "rate_limit_exceeded", "message": "x"})]), "rate_limited");
    assert_eq!(kind(&[json!({"type": "error", "error": {"type": "invalid_request_error"}})]), "bad_request");
}

#[test]
fn a_stream_without_its_last_event_has_ended_too_early() {
    assert_eq!(kind(&[says("Hello.")]), "transient");
    assert_eq!(kind(&["[DONE]".into()]), "transient");
    assert_eq!(kind(&[Value::Null]), "protocol");
    assert_eq!(kind(&[json!({"type": 7}), completed()]), "none");
}
