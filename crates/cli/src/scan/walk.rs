//! The walk itself: decode, backbone, stream, output, one image after the other.

use std::sync::mpsc::Receiver;

use rareclip_core::{Detector, Outcome, PushOptions, Stream};
use rareclip_imaging::{ImagingError, InputRecipe, Limits, MapScale, Picture};
use rareclip_pipeline::{Encoded, Input, Source, Stage, encode_with, read_ahead};

use super::inputs::ImageFile;
use super::meter::Meter;
use super::output::Output;
use super::progress::Progress;
use super::record::{self, RunRecord};
use crate::args::{MapScaleArg, ScanArgs};
use rareclip_pipeline::ResultRow;

/// What this run has come across so far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) scored: u64,
    pub(super) anomalous: u64,
}

/// A run under way.
pub(super) struct Walk<'a> {
    pub(super) args: &'a ScanArgs,
    pub(super) detector: &'a Detector,
    pub(super) stream: Stream,
    pub(super) record: RunRecord,
    pub(super) output: Option<Output>,
    pub(super) meter: &'a mut Meter,
    pub(super) limits: Limits,
    pub(super) options: PushOptions,
    pub(super) tally: Tally,
    pub(super) progress: Progress,
}

/// An image, or why it cannot be read.
pub(super) type Read = Result<Input, ImagingError>;

impl Walk<'_> {
    /// Goes through `images` until the end or until `stopped`.
    pub(super) fn images(
        &mut self,
        images: Vec<ImageFile>,
        recipe: InputRecipe,
        stopped: &dyn Fn() -> bool,
    ) -> anyhow::Result<()> {
        self.each(images, recipe, stopped, &mut Self::image)
    }

    /// Reads `images` one after the other and gives each to `take`, until the end or until
    /// `stopped`.
    pub(super) fn each(
        &mut self,
        images: Vec<ImageFile>,
        recipe: InputRecipe,
        stopped: &dyn Fn() -> bool,
        take: &mut dyn FnMut(&mut Self, ImageFile, Read) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.args.timings {
            // One stage at a time, so that time and memory are each stage's own.
            for input in images {
                if stopped() {
                    break;
                }
                let limits = self.limits;
                let prepared = self.meter.measure(Stage::Decode, || {
                    Source::File(&input.path).prepare(&recipe, &limits)
                });
                take(self, input, prepared)?;
            }
            return Ok(());
        }
        let ahead: Receiver<(ImageFile, Read)> = read_ahead(images, recipe, self.limits);
        while !stopped()
            && let Ok((input, prepared)) = ahead.recv()
        {
            if let Ok(prepared) = &prepared {
                self.meter.add(Stage::Decode, prepared.time);
            }
            take(self, input, prepared)?;
        }
        Ok(())
    }

    /// One image from pixels to its row. What it cannot get past is an error of the run, not of the
    /// image.
    fn image(&mut self, input: ImageFile, prepared: Read) -> anyhow::Result<()> {
        let index = self.record.done;
        let row = match prepared {
            Err(error) => ResultRow::failed(index, input.name.clone(), message(&error)),
            Ok(prepared) => match self.score(&prepared) {
                Ok(outcome) => self.scored(index, &input, &prepared.picture, &outcome)?,
                Err(error) => ResultRow::failed(index, input.name.clone(), message(&error)),
            },
        };
        self.settle(&row)?;
        if self.args.watch {
            self.record.watched.push(input.name);
        }
        if self.record.done.is_multiple_of(self.args.save_every) {
            self.save()?;
        }
        Ok(())
    }

    /// Writes a row and counts its image.
    pub(super) fn settle(&mut self, row: &ResultRow) -> anyhow::Result<()> {
        if let Some(error) = &row.error {
            self.record.failed += 1;
            tracing::warn!(image = %row.image, %error, "Image skipped.");
        }
        if let Some(output) = &mut self.output {
            output.row(row)?;
            self.record.results_bytes = output.bytes();
        }
        self.progress.row(row)?;
        self.record.done += 1;
        self.meter.image();
        Ok(())
    }

    /// The features of one image.
    pub(super) fn encode(&mut self, input: &Input) -> rareclip_core::Result<Encoded> {
        let detector = self.detector;
        self.meter
            .measure(Stage::Backbone, || encode_with(detector, input))
    }

    fn score(&mut self, input: &Input) -> rareclip_core::Result<Outcome> {
        let features = self.encode(input)?.features;
        let observer = &mut *self.meter;
        self.stream
            .push_observed(&features, self.options, &mut |slot, time| {
                let stage = slot.into();
                observer.add(stage, time);
                observer.note_peak(stage);
                observer.reset_peak();
            })
    }

    /// The row of an image that was scored, whose pictures are written.
    pub(super) fn scored(
        &mut self,
        index: u64,
        input: &ImageFile,
        picture: &Picture,
        outcome: &Outcome,
    ) -> anyhow::Result<ResultRow> {
        let map = outcome.scored.map.values.view();
        let scale = match self.args.map_scale {
            MapScaleArg::Calibrated => MapScale::new(outcome.map_scale.0, outcome.map_scale.1)?,
            MapScaleArg::PerImage => MapScale::of_map(map),
            MapScaleArg::Fixed(low, high) => MapScale::new(low, high)?,
        };
        let row = ResultRow::scored(index, input.name.clone(), outcome, (scale.low, scale.high));
        self.tally.scored += 1;
        self.tally.anomalous += u64::from(row.is_anomalous());
        if let Some(output) = &self.output {
            let preset = self.detector.spec().input.preset;
            let written = self.meter.measure(Stage::Output, || {
                output.pictures(&row, picture, map, scale, preset)
            });
            // The result matters more than its pictures.
            if let Err(error) = written {
                let error = format!("{error:#}");
                tracing::warn!(image = %row.image, %error, "Picture not written.");
            }
        }
        Ok(row)
    }

    pub(super) fn save(&self) -> anyhow::Result<()> {
        let Some(path) = &self.args.state else {
            return Ok(());
        };
        // Rows first: the state must never remember more results than are on disk.
        if let Some(output) = &self.output {
            output.sync()?;
        }
        record::save(&self.stream, &self.record, path)
    }
}

/// An error with all its causes in one line.
pub(super) fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text.replace('\n', " ")
}
