//! What one end says and counts at the edges: of a window, a page, an acknowledgement.

use super::*;

#[test]
fn a_message_out_of_place_is_told_in_words() {
    let why = |mut exchange: Exchange, message| exchange.receive(&bytes(&message, &LogTable::default()), 5).unwrap_err().to_string();
    assert_eq!(why(open(), Message::Who), "who while the exchange is open");
    assert_eq!(why(greeting(), Message::Lost(3)), "lost state while its hello is due");
}

#[test]
fn each_page_of_a_hello_but_the_last_says_that_more_comes() {
    let mut exchange = Exchange::new(true, 0, pace());
    let page = |node| told(&[(origin(node), 5)].into()).remove(0);
    exchange.greet(vec![page(1), page(2), page(3)], 1000, Some(9));
    let hello = |more, node| bytes(&Message::Hello(Hello { more, window: 1000, take: Some(9), manifest: page(node) }), &LogTable::default());
    assert_eq!(exchange.poll_output(), [hello(true, 1), hello(true, 2), hello(false, 3)].concat());
}

#[test]
fn what_needs_no_answer_is_said_and_what_is_closed_is_silent() {
    let none = LogTable::default();
    let mut exchange = greeting();
    exchange.tell_lost(7);
    exchange.busy();
    assert_eq!(exchange.poll_output(), [bytes(&Message::Lost(7), &none), bytes(&Message::Busy, &none)].concat());
    let mut exchange = closed();
    exchange.busy();
    assert!(exchange.poll_output().is_empty());
    assert_eq!([asking(), greeting(), open(), closed()].map(|exchange| exchange.is_asking()), [true, false, false, false]);
    let mut exchange = asking();
    exchange.receive(&bytes(&Message::Bye(None), &none), 0).unwrap();
    assert_eq!(exchange.ending(), Some(Ending::PeerLater));
}

#[test]
fn a_peer_is_full_where_no_range_worth_sending_fits() {
    for (take, full) in [(None, false), (Some(WORTHWHILE_LEN), false), (Some(WORTHWHILE_LEN - 1), true), (Some(0), true)] {
        let mut exchange = greeting();
        let hello = Hello { more: false, window: 65_536, take, manifest: told(&[(origin(2), 5)].into()).remove(0) };
        exchange.receive(&bytes(&Message::Hello(hello), &LogTable::default()), 0).unwrap();
        assert_eq!(exchange.peer_is_full(), full, "{take:?}");
    }
}

/// An end inside a range stands for the ranges before it alone.
#[test]
fn what_is_on_its_way_is_counted_until_all_of_it_is_acknowledged() {
    let mut exchange = open();
    let first = exchange.flight();
    let second = exchange.send(range(origin(1), 4, 9, 500), 1);
    assert_eq!((exchange.flight(), exchange.longest_flying()), (first + second, second));
    exchange.receive(&bytes(&Message::Done(0), &LogTable::default()), 5).unwrap();
    assert!(exchange.is_waiting(), "for what is on its way");
    for (end, left) in [(5, second), (9, 0)] {
        exchange.receive(&bytes(&Message::Ack(vec![(0, end)]), &LogTable::default()), 9).unwrap();
        assert_eq!((exchange.flight(), exchange.longest_flying()), (left, left));
    }
    assert!(!exchange.is_waiting());
}

/// As many bytes are on their way as the peer's window holds, and no range goes before it was said what we hold.
#[test]
fn a_window_that_is_full_is_full() {
    let with_window = |window| {
        let mut exchange = greeting();
        let hello = Hello { more: false, window, take: None, manifest: told(&[(origin(2), 5)].into()).remove(0) };
        exchange.receive(&bytes(&Message::Hello(hello), &LogTable::default()), 0).unwrap();
        let len = exchange.send(range(origin(1), 1, 3, 1000), 0);
        (len, exchange.wants_range().is_some())
    };
    let (len, _) = with_window(65_536);
    assert_eq!([len, len + 1].map(|window| with_window(window).1), [false, true]);
    let mut exchange = Exchange::new(true, u64::MAX, pace());
    assert_eq!(exchange.wants_range(), None, "ahead of our own hello");
    exchange.greet(told(&[(origin(1), 5)].into()), 65_536, None);
    assert!(exchange.wants_range().is_some());
}

/// A later end stands for what came before it; an earlier one that is told after it is of another branch.
#[test]
fn an_end_told_after_a_later_one_does_not_take_its_place() {
    for (ends, owed) in [(&[3, 5][..], &[5][..]), (&[5, 3], &[5, 3]), (&[5, 5], &[5])] {
        let mut exchange = open();
        for end in ends {
            exchange.taken(&origin(2), *end);
        }
        let said = exchange.poll_output();
        let mut expected = LogTable::default();
        expected.push(origin(2));
        assert_eq!(said, bytes(&Message::Ack(owed.iter().map(|end| (0, *end)).collect()), &expected), "{ends:?}");
    }
}

#[test]
fn an_end_knows_whether_it_waits() {
    let mut exchange = open();
    assert!(exchange.is_waiting(), "for an acknowledgement");
    let ack = bytes(&Message::Ack(vec![(0, 3)]), &LogTable::default());
    let (half, rest) = ack.split_at(ack.len() / 2);
    exchange.receive(half, 9).unwrap();
    assert!(exchange.is_mid_message());
    exchange.receive(rest, 9).unwrap();
    assert!(!exchange.is_mid_message() && exchange.is_waiting(), "until it has said that there is no more");
    exchange.receive(&bytes(&Message::Done(0), &LogTable::default()), 9).unwrap();
    assert!(!exchange.is_waiting());
    assert!(greeting().is_waiting() && !greeting().is_mid_message(), "for its hello");
}
