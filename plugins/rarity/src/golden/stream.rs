//! Streams through bank and scorer.
