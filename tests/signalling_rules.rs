//! What real peers and attackers do to a SIP server, and the tests that hold us to an answer: the index. A rule without a
//! test, or with a name that no test has any more, fails here.

use std::fs;
use std::path::Path;

/// A rule in a few words, and the tests that would fail if we broke it.
const RULES: &[(&str, &[&str])] = &[
    (
        "hold: sendonly, inactive and 0.0.0.0; answers from the current offer; resume with an unchanged address",
        &[
            "hold_is_answered_by_the_table_of_rfc_3264",
            "the_unspecified_address_is_hold",
            "a_reoffer_is_answered_from_the_current_offer_in_either_direction",
            "while_held_the_agent_neither_speaks_nor_gives_up_and_goes_on_afterwards",
            "a_telephone_that_holds_us_lets_us_hear_the_pbxs_music_and_comes_back",
        ],
    ),
    (
        "re-INVITE without SDP, with another address, right after the answer, and glare in both roles",
        &[
            "a_reinvite_without_sdp_gets_our_offer_and_its_answer_comes_with_the_ack",
            "a_re_invite_with_another_address_moves_the_audio_there_and_back",
            "a_reinvite_right_behind_the_ack_reaches_the_application",
            "media_goes_directly_to_the_telephone_after_a_reinvite_and_both_hear_each_other",
            "reoffers_that_cross_get_491_and_both_come_through_after_the_back_off",
        ],
    ),
    (
        "INVITE without an offer (RFC 3261 §13.2.1)",
        &[
            "an_offerless_invite_gets_our_offer_in_the_200_and_its_answer_comes_with_the_ack",
            "an_offerless_call_with_100rel_gets_our_offer_in_183_and_answers_in_prack",
        ],
    ),
    (
        "session timers in both roles (RFC 4028)",
        &[
            "an_interval_too_small_gets_422_and_the_call_is_tried_again_with_the_minimum",
            "an_update_below_our_minimum_gets_422",
            "the_refresher_sends_updates_without_body_and_no_application_hears_of_it",
            "a_peer_without_update_is_refreshed_by_reinvite_with_the_session_as_it_is",
            "the_side_that_waits_for_refreshes_ends_a_dead_session_before_it_expires",
            "a_refresh_that_nobody_answers_ends_the_call_with_bye_on_both_sides",
            "sessions_of_90_seconds_are_refreshed_whoever_called",
        ],
    ),
    (
        "100rel, PRACK, UPDATE, early media, forks, CANCEL against 2xx",
        &[
            "what_the_caller_requires_reliably_is_acknowledged_with_prack",
            "a_2xx_waits_for_the_prack_of_a_description_but_not_of_a_mere_ringing",
            "early_media_may_be_changed_by_update_from_either_side",
            "an_announcement_is_heard_before_the_call_is_answered",
            "the_target_s_early_media_is_heard_instead_of_our_ringing_and_ends_with_its_refusal",
            "each_fork_has_its_early_dialog_its_prack_and_its_media",
            "a_2xx_of_a_second_fork_gets_ack_and_bye_and_its_repetition_the_ack_again",
            "a_2xx_that_crosses_the_cancel_gets_ack_and_bye",
            "a_lost_200_is_repeated_until_the_ack_comes",
        ],
    ),
    (
        "REGISTER: Request-URI, authentication ID, 401 and 407, CSeq",
        &[
            "register_goes_to_a_uri_without_user_with_the_auth_id_apart_from_the_extension",
            "a_407_is_answered_like_a_401_and_cseq_grows_under_one_call_id",
        ],
    ),
    (
        "REGISTER: when to refresh, when to wait, when to stop",
        &[
            "the_refresh_comes_at_a_jittered_50_to_85_percent_of_the_granted_time",
            "waits_between_failures_grow_with_jitter_up_to_five_minutes",
            "a_423_raises_the_expiry_to_min_expires",
            "retry_after_is_obeyed_whatever_the_refusal_up_to_an_hour",
            "a_redirect_to_another_target_is_followed_and_one_to_elsewhere_is_reported",
            "a_wrong_password_is_tried_slowly_and_says_why",
            "unregistering_removes_the_binding_and_ends_the_registration",
        ],
    ),
    (
        "REGISTER: restarts, fail-over, proxies, NAT, one contact",
        &[
            "a_registrar_that_forgot_us_in_a_restart_has_us_again_soon",
            "we_are_registered_and_again_by_ourselves_after_the_pbx_lost_power",
            "a_silent_target_is_left_for_the_next_after_six_seconds_and_returned_to_later",
            "a_registrar_that_takes_connections_and_drops_what_comes_is_asked_again_by_another_connection",
            "naptr_chooses_the_transport_srv_the_hosts_and_every_host_is_a_way_out",
            "an_outbound_proxy_is_a_loose_route_before_an_unchanged_request_uri",
            "the_contact_follows_the_address_the_registrar_sees",
            "changed_local_addresses_change_the_contact_and_remove_the_old_one",
            "after_a_crash_the_old_contact_is_found_and_removed",
        ],
    ),
    (
        "attribution: registration, then credentials, then source; never From",
        &[
            "an_invite_to_our_contact_is_attributed_to_the_registration_and_a_strangers_is_not_heard",
            "callers_from_one_address_are_told_apart_by_user_name_in_either_hash",
            "calls_are_attributed_by_source_and_never_by_from",
        ],
    ),
    (
        "digest in both roles (RFC 7616, RFC 8760)",
        &[
            "rfc_7616_section_3_9_1_vectors",
            "of_two_algorithms_the_stronger_is_answered",
            "refreshes_answer_the_known_challenge_unasked_with_a_growing_count",
            "a_stale_nonce_costs_one_round_and_a_registrar_of_short_nonces_is_not_bothered_with_old_ones",
            "an_invite_is_repeated_with_credentials_once_per_nonce_and_twice_at_most",
            "an_answer_to_our_challenge_is_verified_and_every_change_to_it_refused",
            "captured_credentials_are_worth_nothing_a_second_time_later_or_elsewhere",
            "a_pbx_that_knows_our_password_is_taken_and_one_that_does_not_is_not",
        ],
    ),
    (
        "REFER: form of the target, outcome by NOTIFY, return to the agent, attended, bridge",
        &[
            "a_refer_names_its_target_in_the_form_it_was_given",
            "a_transfer_succeeds_with_the_notify_and_then_the_leg_is_ended_with_bye",
            "a_transfer_whose_target_is_busy_returns_the_call",
            "a_refused_refer_becomes_a_call_of_ours_that_is_bridged",
            "a_busy_target_gives_the_caller_back_to_the_agent",
            "an_attended_transfer_calls_the_target_and_lets_the_peer_take_that_call_over",
            "a_peer_s_refer_takes_the_agent_to_somebody_else",
            "transfer_context_is_one_safe_header_value_of_bounded_length",
        ],
    ),
    (
        "keys by RFC 4733, INFO and tones, one digit per press",
        &[
            "digits_are_exact_at_five_percent_loss_with_repeats_and_reordering",
            "a_key_by_sip_info_is_read_in_both_forms",
            "every_key_is_heard_once_per_press_however_long_it_lasts",
            "speech_presses_no_key",
            "a_key_counts_once_whichever_way_the_peer_sends_it",
            "keys_arrive_once_each_by_rfc_4733_info_and_tones_and_ours_arrive_at_the_pbx",
        ],
    ),
    (
        "100 at once; refusals with Retry-After; strangers get nothing",
        &[
            "an_invite_gets_100_at_once",
            "calls_beyond_the_limit_get_503_with_retry_after",
            "unserved_requests_get_the_status_that_says_why",
            "unknown_sources_get_nothing",
        ],
    ),
    (
        "OPTIONS in both directions, 503 while draining",
        &[
            "options_are_answered_to_known_peers_and_with_503_while_draining",
            "options_within_a_call_are_answered_even_while_draining",
            "a_registrar_that_calls_nobody_we_know_hears_so_and_may_ask_whether_we_are_there",
        ],
    ),
    (
        "headers in as variables, headers out, nothing taken as identity",
        &[
            "claims_of_identity_are_claims_and_attribute_nothing",
            "the_caller_s_own_number_and_name_are_shown_and_asserted_where_wanted",
            "a_private_call_shows_no_number_but_in_the_asserted_identity",
            "an_agent_may_say_why_it_hangs_up_in_a_header_of_the_bye",
        ],
    ),
    (
        "streams: reuse, reconnect, verification, client certificates, 1,300 bytes",
        &[
            "requests_reuse_an_open_stream_and_open_another_once_the_peer_has_closed_it",
            "a_registration_comes_back_by_another_stream_when_its_own_breaks",
            "a_call_goes_over_tls_from_invite_to_bye_on_one_verified_connection",
            "an_expired_certificate_is_refused_with_its_date",
            "a_certificate_for_another_host_is_refused_with_both_names",
            "a_peer_that_demands_a_certificate_gets_ours_and_refuses_who_has_none",
            "a_request_over_1300_bytes_goes_by_tcp_and_says_so_in_its_via",
        ],
    ),
    (
        "several advertised addresses, chosen by where the peer is",
        &["several_advertised_addresses_are_chosen_by_where_the_peer_is"],
    ),
    (
        "audio from the answer on, silence or comfort noise included; a media timeout that knows about hold",
        &[
            "silence_is_paced_without_gap_from_the_moment_of_configuration",
            "silence_is_sent_unless_both_sides_want_comfort_noise",
            "missing_audio_is_reported_once",
            "hold_stops_the_packets_and_resume_brings_them_back",
        ],
    ),
    (
        "codecs and payload types of the offer, packet times, rtcp and rtcp-mux, events at the codec's rate, other streams",
        &[
            "the_offerer_s_order_and_payload_types_are_kept",
            "packet_time_is_the_peer_s_within_its_maximum",
            "packets_have_the_peer_s_packet_time",
            "rtcp_goes_beside_rtp_unless_the_peer_says_otherwise",
            "digits_beside_opus_count_in_its_clock",
            "other_streams_are_refused_in_their_places",
            "an_offer_without_audio_or_without_a_known_codec_gets_488",
        ],
    ),
    (
        "real peers in every codec and protection of audio",
        &[
            "asterisk_speaks_with_us_in_every_codec_and_protection",
            "pjsua_speaks_with_us_in_every_codec_and_protection",
            "baresip_speaks_with_us_in_every_codec_and_protection",
            "linphonec_speaks_with_us_in_every_codec_and_protection",
        ],
    ),
    (
        "RTP from the address that was agreed on, and symmetric RTP for who is behind NAT",
        &[
            "the_exact_address_is_heard_at_once_and_closes_the_window",
            "another_port_of_the_sdp_ip_is_learned_after_four_consecutive_packets",
            "the_signalling_source_counts_only_for_an_unroutable_sdp_ip",
            "a_peer_behind_nat_is_found_within_two_hundred_milliseconds_and_a_later_thief_is_not",
        ],
    ),
    (
        "playout: a deep queue for each turn, an instant flush without a click, every starved frame counted",
        &[
            "the_ring_takes_more_than_a_second_then_says_no_and_still_ends_turns",
            "several_queued_turns_are_flushed_at_once_and_a_later_one_lives",
            "a_flush_in_a_loud_tone_makes_no_click_above_40_db_below_full_scale",
            "an_empty_ring_within_a_turn_is_starved_and_after_its_end_silent",
        ],
    ),
    (
        "jitter, loss, reordering, repetition and unlike clocks",
        &[
            "speech_keeps_its_score_in_every_codec_through_every_network",
            "keys_arrive_exactly_once_at_up_to_five_percent_loss_in_every_codec",
            "added_delay_stays_within_sixty_milliseconds_at_thirty_of_jitter",
            "a_sender_with_a_fast_or_slow_clock_neither_runs_over_nor_dry",
        ],
    ),
    (
        "ports: random and even out of the range, rested before they are used again, none leaked",
        &[
            "only_even_ports_with_their_odd_neighbour_are_given",
            "ports_cannot_be_guessed_from_the_one_before",
            "a_port_rests_for_the_quarantine",
            "ten_thousand_calls_leak_no_port",
            "an_exhausted_range_is_a_clear_error_and_closed_legs_rest_in_quarantine",
        ],
    ),
];

/// An attack class, by the number that the code calls it by, and the tests of its defence.
const ATTACKS: &[(&str, &[&str])] = &[
    (
        "1. RTP bleed: audio goes to whoever sprays",
        &[
            "a_sprayer_over_the_port_range_of_many_calls_gets_nothing_and_is_not_heard_and_nat_moves_are_followed",
            "a_sprayer_gets_no_packet_and_is_not_heard_before_during_and_after_the_window",
            "a_third_address_is_never_learned",
            "after_two_seconds_nothing_is_learned",
            "one_change_per_window",
        ],
    ),
    (
        "2. RTP injection: audio and keys of somebody else",
        &[
            "packets_forged_from_the_peer_s_own_address_are_not_heard_while_it_talks",
            "a_forged_source_on_the_right_address_is_refused_while_the_true_one_talks",
            "payload_types_outside_the_negotiation_are_refused",
            "gaps_reordering_and_a_mixed_source_restart_the_probation",
        ],
    ),
    (
        "3. RTCP: forged, short, of lying length",
        &[
            "reports_of_every_type_and_length_do_a_live_call_no_harm",
            "every_length_of_every_type_is_read_or_refused_without_panic",
            "reports_are_believed_from_the_source_that_is_heard_only",
            "a_goodbye_counts_for_the_source_that_reports_and_a_short_one_spoils_the_datagram",
        ],
    ),
    (
        "4. SRTP: calls killed by bad packets",
        &[
            "packets_with_bad_tags_leave_the_call_alive_and_memory_as_it_was",
            "a_flipped_bit_anywhere_is_noticed_and_changes_nothing",
            "nothing_moves_before_a_packet_is_authentic",
        ],
    ),
    (
        "5. DTLS: the race of a stranger's hello",
        &[
            "a_spray_of_hellos_and_rubbish_does_not_stop_a_handshake",
            "hellos_and_high_record_numbers_in_the_peers_name_do_not_stop_a_handshake",
            "a_flood_forged_from_the_very_address_of_the_peer_does_not_stop_a_handshake",
            "a_cookie_is_good_for_its_address_in_its_handshake_only_and_nothing_is_kept_before_it_comes_back",
            "a_cookie_is_of_its_address_and_its_handshake_alone",
            "handshakes_are_let_in_from_the_description_and_the_signalling_only",
            "alerts_in_clear_are_told_as_a_hint_and_not_obeyed",
            "another_fingerprint_than_the_descriptions_gives_no_keys",
        ],
    ),
    (
        "6. SRTP: downgrade and silent cleartext",
        &[
            "an_encrypted_call_neither_sends_nor_hears_a_packet_in_clear",
            "the_offer_matrix_policy_by_kind_of_offer",
            "an_answer_that_drops_the_encryption_is_taken_only_where_it_may_be_missing",
            "without_private_signalling_nothing_is_offered_that_needs_it",
            "keys_are_in_no_debug_output_and_in_no_error",
        ],
    ),
    (
        "7. digest leak: a peer challenges our requests in a realm of its choice",
        &[
            "a_caller_that_challenges_our_requests_gets_no_credentials",
            "a_trunk_that_asks_in_twenty_other_realms_gets_no_credentials",
            "a_challenge_from_another_address_or_realm_is_not_answered",
            "a_registrar_with_sha_256_is_not_answered_in_md5_afterwards",
        ],
    ),
    (
        "8. toll fraud by INVITE, REFER, 3xx and dial strings",
        &[
            "by_default_nothing_may_be_dialled",
            "no_trick_gets_an_expensive_number_through",
            "a_peer_s_refer_to_what_may_not_be_dialled_is_refused_and_the_call_goes_on",
            "a_refer_from_a_peer_that_may_not_gets_603_and_reaches_nobody",
            "a_refusal_a_redirection_or_a_503_after_ringing_stands",
        ],
    ),
    (
        "9. scans and enumeration",
        &[
            "four_thousand_scanner_registers_get_no_answer_while_a_peer_does",
            "unknown_user_and_wrong_password_get_the_same_answer",
            "ten_wrong_passwords_ban_the_source_for_ten_minutes",
            "a_scanner_that_registers_gets_nothing_and_is_banned_after_ten",
        ],
    ),
    (
        "10. floods",
        &[
            "invites_from_forged_addresses_leave_nothing_behind_and_peers_are_served",
            "any_number_of_forged_addresses_has_one_budget_and_bounded_memory",
            "a_ban_outlives_a_flood_from_forged_addresses",
            "the_flood_of_others_does_not_touch_the_budget_of_a_peer",
            "a_full_transaction_table_refuses_with_503_and_forgets_nothing",
        ],
    ),
    (
        "11. amplification",
        &[
            "the_unproven_never_get_more_bytes_than_they_sent",
            "where_a_password_is_asked_of_everybody_no_more_bytes_go_out_than_came_in",
            "a_challenge_keeps_nothing_and_is_not_repeated",
            "an_unknown_source_that_requires_100rel_gets_nothing",
        ],
    ),
    (
        "12. slow, endless and broken streams",
        &[
            "slow_headers_slow_bodies_and_silence_are_closed",
            "endless_lines_folds_headers_and_heads_end_the_stream_before_they_fill_memory",
            "the_33rd_stream_from_one_source_of_a_wide_network_is_closed_and_other_sources_still_connect",
            "a_peer_that_does_not_read_our_requests_is_cut_off_when_the_queue_is_full",
            "no_more_than_200_handshakes_are_under_way_at_one_time",
            "a_flood_on_one_stream_does_not_starve_the_others",
        ],
    ),
    (
        "13. malformed messages",
        &[
            "any_bytes_are_read_without_panic",
            "no_64_kib_of_any_shape_takes_long",
            "any_chunking_gives_the_same_messages",
            "random_operations_keep_every_promise_in_runs_0_to_2000",
        ],
    ),
    (
        "14. smuggled and injected headers",
        &[
            "blanks_before_the_colon_do_not_hide_a_header",
            "a_header_that_may_come_once_comes_once",
            "lengths_that_contradict_each_other_are_refused",
            "no_text_of_an_application_breaks_out_of_its_header",
            "no_way_in_lets_a_line_break_through",
        ],
    ),
    (
        "15. spoofed requests within dialogs",
        &[
            "guessed_and_spoofed_in_dialog_requests_hang_up_nothing",
            "a_known_peer_cannot_hang_up_the_call_of_another",
            "a_cancel_from_another_address_cancels_nothing",
            "nobody_hangs_up_the_call_of_a_peer_that_may_be_anywhere",
        ],
    ),
    ("16. caller id as identity", &["claims_of_identity_are_claims_and_attribute_nothing"]),
    (
        "17. addresses inside by way of tools, redirects, proxies and rebinding names",
        &[
            "no_spelling_of_an_inner_address_is_connected_to",
            "a_name_that_rebinds_is_never_connected_to_inside",
            "a_redirect_to_an_inner_address_is_not_followed",
            "a_proxy_from_the_environment_gets_nothing",
            "the_guard_refuses_a_bot_on_this_machine_unless_the_operator_allows_it",
        ],
    ),
    (
        "18. what a caller or a tool talks a model into",
        &[
            "a_tool_outside_the_closed_list_is_denied",
            "an_unconfirmed_call_of_a_confirm_tool_is_denied",
            "whatever_is_admitted_fits_its_declaration_and_stays_on_its_host",
            "a_phone_call_cannot_spend_more_than_its_budget_of_calls",
            "a_model_cannot_talk_its_way_past_the_read_back",
            "a_model_that_calls_tools_in_a_circle_is_stopped",
            "a_bot_hands_the_call_to_a_destination_by_its_name_and_to_no_other",
        ],
    ),
    (
        "19. personal data, keys and passwords in the log",
        &[
            "neither_number_nor_name_nor_words_of_a_caller_are_logged_at_any_level",
            "debug_and_display_hide_the_value",
            "debug_output_holds_neither_passwords_nor_messages",
            "keys_reach_the_model_but_not_the_record",
            "the_audit_line_names_the_tool_and_the_outcome_and_no_personal_data",
            "no_key_of_any_language_model_is_printed_at_any_level_of_the_log",
        ],
    ),
    (
        "20. recordings: none unless asked for, none written over, readable after a crash",
        &[
            "a_file_that_exists_is_never_written_over",
            "a_killed_server_leaves_a_recording_that_plays_up_to_its_last_second",
        ],
    ),
    (
        "22. DNS: endless answers, loops, silence, names of strangers",
        &[
            "an_answer_of_a_thousand_records_becomes_a_few_targets_and_few_questions",
            "an_alias_is_followed_and_a_loop_of_aliases_ends",
            "a_failing_or_silent_name_server_is_told_apart_from_a_name_that_is_not_there",
            "a_name_in_the_contact_of_a_peer_is_never_looked_up",
        ],
    ),
    (
        "23. vendors that fail, stall, send rubbish or never end",
        &[
            "every_fault_of_a_recogniser_is_made_up_for_by_the_next",
            "every_fault_of_a_language_model_is_made_up_for_by_the_next",
            "every_fault_of_a_voice_is_made_up_for_by_the_next",
            "every_fault_of_a_vendor_of_speech_to_speech_is_made_up_for_by_the_next",
            "large_endless_and_silent_answers_are_cut_off",
            "a_bot_that_floods_is_heard_within_bounds_and_then_cut_off",
        ],
    ),
];

fn source(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            source(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("the file can be read"));
        }
    }
}

/// Whether `text` holds a test function of this name.
fn is_tested(text: &str, name: &str) -> bool {
    text.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let attributes = before.rsplit(['}', ';']).next().unwrap_or_default();
        ["#[test]", "#[tokio::test"].iter().any(|attribute| attributes.contains(attribute))
    })
}

#[test]
fn every_rule_and_every_attack_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    source(&root.join("src"), &mut text);
    source(&root.join("tests"), &mut text);
    let missing: Vec<String> = RULES
        .iter()
        .chain(ATTACKS)
        .flat_map(|(rule, tests)| tests.iter().map(move |test| (rule, test)))
        .filter(|(_, test)| !is_tested(&text, test))
        .map(|(rule, test)| format!("{test}\n    which holds us to: {rule}"))
        .collect();
    assert!(missing.is_empty(), "no test has the name\n  {}", missing.join("\n  "));
}

#[test]
fn a_name_that_only_a_helper_or_nobody_has_is_no_test() {
    assert!(is_tested("}\n#[test]\nfn calls_work() {", "calls_work"));
    assert!(is_tested(";\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn calls_work() {", "calls_work"));
    assert!(!is_tested("}\nfn calls_work() {", "calls_work"));
    assert!(!is_tested("}\n#[test]\nfn calls_work_well() {", "calls_work"));
}
