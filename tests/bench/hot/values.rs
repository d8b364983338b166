//! Decoding and encoding: from the protocol to domain values, to the stored form, and to subscribers. No I/O.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use runlog::codec::record;
use runlog::domain::{EventType, Limits, Payload, View};
use runlog::service::live::recent_events::EncodedEvents;
use runlog::transport::convert;
use runlog::transport::view::Presentation;

use crate::events;

/// Events of a chunk.
const CHUNK: u64 = 100;

criterion_group!(benches, validate, convert, encode);

fn validate(c: &mut Criterion) {
    let (json, limits) = (events::json(), Limits::default());
    let event_type = EventType::parse("step").unwrap();
    let mut group = c.benchmark_group("validate");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("payload", |b| {
        b.iter_batched(
            || json.clone(),
            |json| Payload::parse(&event_type, json, &limits).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

fn convert(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("convert");
    for (name, event) in [("json", events::on_the_wire()), ("typed", events::typed_on_the_wire())] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || event.clone(),
                |event| convert::new_event(event, &limits).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let event = events::stored(1);
    let mut out = Vec::with_capacity(1 << 20);
    group.bench_function("record", |b| {
        b.iter(|| {
            out.clear();
            record::append_entry(black_box(&event), &mut out);
        });
    });

    let mut chunk = Vec::new();
    (1..=CHUNK).for_each(|seq| record::append_entry(&events::stored(seq), &mut chunk));
    let chunk = Bytes::from(chunk);
    group.throughput(Throughput::Elements(CHUNK));
    for (name, typed) in [("batch as json", false), ("batch as typed", true)] {
        let presentation = Presentation { typed, view: View::Full };
        group.bench_function(name, |b| {
            // A new batch for each iteration: a batch caches its encoded form.
            b.iter_batched(
                || EncodedEvents::new(false, chunk.clone()),
                |batch| presentation.chunk(&batch).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
}
