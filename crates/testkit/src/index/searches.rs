//! What an index finds.

use ndarray::{Array2, ArrayView2, Axis, s};
use rareclip_core::VectorIndex;
use rareclip_core::index::{NONE, VectorIndexFactory};

use super::checks::told;
use super::data::{best, filled, patches, product, rows, whole};
use super::promise::Promise;
use crate::broken::Held;

pub(super) const ALL: &[Promise] = &[
    Promise {
        says: "a search finds the most similar vectors, ties by arrival",
        holds: searches,
    },
    Promise {
        says: "equal vectors come in the order of their arrival",
        holds: equals_by_arrival,
    },
    Promise {
        says: "there are as many neighbours as asked for, or as many as there are vectors",
        holds: as_many_as_there_are,
    },
    Promise {
        says: "a search among the first vectors knows no others",
        holds: the_first,
    },
    Promise {
        says: "the nearest earlier vectors lie between floor and position",
        holds: earlier,
    },
    Promise {
        says: "a survey is a search and the best query of every vector",
        holds: survey,
    },
    Promise {
        says: "an exact search misses nothing, and neither does one by similarity",
        holds: nothing_is_missed,
    },
    Promise {
        says: "rows and columns may lie in memory as they like",
        holds: views,
    },
    Promise {
        says: "NaN finds nothing, and disturbs no other query",
        holds: nan,
    },
    Promise {
        says: "a query finds the same alone as among others",
        holds: alone,
    },
    Promise {
        says: "many threads at once find what one finds",
        holds: threads,
    },
];

/// How far a similarity of unit vectors may be from the true one.
const CLOSE: f32 = 1e-5;

/// Compares a search with brute force; all of it for exact indexes, for others what is found with
/// what it is.
pub(super) fn agrees(
    index: &dyn VectorIndex,
    vectors: &Array2<f32>,
    queries: &Array2<f32>,
    k: usize,
) -> Held {
    let found = index.search(queries.view(), k).map_err(told("search"))?;
    let k = k.min(vectors.nrows());
    if found.position.dim() != (queries.nrows(), k)
        || found.similarity.dim() != found.position.dim()
    {
        return Err(format!(
            "a search of {} queries for {k} has shape {:?}",
            queries.nrows(),
            found.position.dim()
        ));
    }
    for (number, (query, row)) in queries.rows().into_iter().zip(rows(&found)).enumerate() {
        let query = query.to_vec();
        if index.exact() {
            equal(&row, &best(vectors, &query, 0..vectors.nrows(), k), number)?;
        } else {
            true_neighbours(&row, vectors, &query, 0..vectors.nrows(), number)?;
        }
    }
    Ok(())
}

fn equal(found: &[(f32, u32)], expected: &[(f32, u32)], query: usize) -> Held {
    if found == expected {
        return Ok(());
    }
    Err(format!("query {query} finds {found:?}, not {expected:?}"))
}

/// What is found is there, once, best first, as similar as it is said to be, with nobody at the
/// end.
fn true_neighbours(
    found: &[(f32, u32)],
    vectors: &Array2<f32>,
    query: &[f32],
    among: std::ops::Range<usize>,
    number: usize,
) -> Held {
    let wrong = |what: &str| Err(format!("query {number} finds {found:?}: {what}"));
    let there = found.iter().take_while(|(_, at)| *at != NONE).count();
    if found[there..]
        .iter()
        .any(|&entry| entry != (f32::NEG_INFINITY, NONE))
    {
        return wrong("after the last one come others than nobody");
    }
    for (place, &(similarity, at)) in found[..there].iter().enumerate() {
        if !among.contains(&(at as usize)) {
            return wrong(&format!("{at} is not among {among:?}"));
        }
        if found[..place].iter().any(|entry| entry.1 == at) {
            return wrong(&format!("{at} comes twice"));
        }
        let truth = product(vectors.view(), at as usize, query) as f32;
        if (similarity - truth).abs() > CLOSE * truth.abs().max(1.0) {
            return wrong(&format!("{at} has similarity {truth}"));
        }
        let in_order = place == 0 || {
            let before = found[place - 1];
            before.0 > similarity || (before.0 == similarity && before.1 < at)
        };
        if !in_order {
            return wrong("they do not come best first, ties by arrival");
        }
    }
    Ok(())
}

fn searches(factory: &dyn VectorIndexFactory) -> Held {
    for (size, width, k) in [(1, 1, 1), (3, 2, 3), (40, 3, 5), (700, 6, 9), (2600, 7, 6)] {
        let vectors = whole(size, width, 20 + size as u64);
        let index = filled(factory, &vectors)?;
        agrees(&*index, &vectors, &whole(60, width, 21), k)?;
    }
    let vectors = patches(1500, 48, 12, 22, 0);
    let index = filled(factory, &vectors)?;
    let queries = patches(50, 48, 12, 22, 1);
    let found = index.search(queries.view(), 5).map_err(told("search"))?;
    for (number, (query, row)) in queries.rows().into_iter().zip(rows(&found)).enumerate() {
        let query = query.to_vec();
        true_neighbours(&row, &vectors, &query, 0..1500, number)?;
        if index.exact() {
            let expected = best(&vectors, &query, 0..1500, 5);
            let close = row
                .iter()
                .zip(&expected)
                .all(|(a, b)| (a.0 - b.0).abs() <= CLOSE);
            if !close {
                return Err(format!("query {number} finds {row:?}, not {expected:?}"));
            }
        }
    }
    Ok(())
}

fn equals_by_arrival(factory: &dyn VectorIndexFactory) -> Held {
    // All vectors equal; and a few different ones many times over, whose equals straddle the last
    // place.
    let one = Array2::from_elem((2100, 3), 1.0);
    let few = whole(7, 3, 30).select(Axis(0), &(0..2100).map(|at| at % 7).collect::<Vec<_>>());
    for vectors in [one, few] {
        let index = filled(factory, &vectors)?;
        for k in [1, 2, 40] {
            agrees(&*index, &vectors, &whole(30, 3, 31), k)?;
        }
    }
    Ok(())
}

fn as_many_as_there_are(factory: &dyn VectorIndexFactory) -> Held {
    let vectors = whole(6, 4, 32);
    let index = filled(factory, &vectors)?;
    for k in [0, 1, 5, 6, 7, 1000] {
        agrees(&*index, &vectors, &whole(3, 4, 33), k)?;
    }
    let none = index
        .search(Array2::zeros((0, 4)).view(), 3)
        .map_err(told("search of no queries"))?;
    if none.position.dim() != (0, 3) {
        return Err(format!(
            "no queries for 3 have shape {:?}",
            none.position.dim()
        ));
    }
    Ok(())
}

fn the_first(factory: &dyn VectorIndexFactory) -> Held {
    let vectors = whole(1800, 5, 34);
    let index = filled(factory, &vectors)?;
    let queries = whole(30, 5, 35);
    for first in [0, 1, 2, 77, 1799, 1800] {
        let found = index
            .search_first(queries.view(), 4, first)
            .map_err(told("search_first"))?;
        let k = first.min(4);
        if found.position.dim() != (30, k) {
            return Err(format!(
                "4 of the first {first} have shape {:?}",
                found.position.dim()
            ));
        }
        for (number, (query, row)) in queries.rows().into_iter().zip(rows(&found)).enumerate() {
            let query = query.to_vec();
            if index.exact() {
                equal(&row, &best(&vectors, &query, 0..first, k), number)?;
            } else {
                true_neighbours(&row, &vectors, &query, 0..first, number)?;
            }
        }
    }
    Ok(())
}

fn earlier(factory: &dyn VectorIndexFactory) -> Held {
    let vectors = whole(1700, 4, 36);
    let index = filled(factory, &vectors)?;
    let all: Vec<usize> = (0..1700).collect();
    let scattered: Vec<usize> = (0..90).map(|at| (at * 611) % 1700).collect();
    let cases: [(&[usize], usize); 6] = [
        (&all, 0),
        (&all, 900),
        (&scattered, 0),
        (&scattered, 1000),
        (&[5, 5, 0, 1699, 5], 2),
        (&[3], 3000),
    ];
    for (positions, floor) in cases {
        for k in [0, 1, 6] {
            let found = index
                .nearest_earlier(positions, floor, k)
                .map_err(told("nearest_earlier"))?;
            if found.position.dim() != (positions.len(), k) {
                return Err(format!(
                    "{} positions for {k} have shape {:?}",
                    positions.len(),
                    found.position.dim()
                ));
            }
            for (&own, row) in positions.iter().zip(rows(&found)) {
                let query = vectors.row(own).to_vec();
                let among = floor..own.max(floor);
                let expected = best(&vectors, &query, among.clone(), k);
                if index.exact() && row != expected {
                    return Err(format!(
                        "position {own} with floor {floor} finds {row:?}, not {expected:?}"
                    ));
                }
                true_neighbours(&row, &vectors, &query, among, own)?;
            }
        }
    }
    Ok(())
}

fn survey(factory: &dyn VectorIndexFactory) -> Held {
    for (size, width, asked) in [(1, 3, 130), (300, 4, 1), (300, 14, 40), (2500, 5, 130)] {
        let vectors = whole(size, width, 37);
        let queries = whole(asked, width, 38);
        let index = filled(factory, &vectors)?;
        let survey = index.survey(queries.view(), 4).map_err(told("survey"))?;
        let search = index.search(queries.view(), 4).map_err(told("search"))?;
        if survey.neighbours != search {
            return Err("its neighbours are not those of a search".into());
        }
        if survey.best_query.len() != size {
            return Err(format!(
                "{} best queries for {size} vectors",
                survey.best_query.len()
            ));
        }
        for (at, &found) in survey.best_query.iter().enumerate() {
            let expected = best(&queries, &vectors.row(at).to_vec(), 0..asked, 1)[0].0;
            if found > expected || (index.exact() && found < expected) {
                return Err(format!(
                    "the best query of vector {at} has {found}, not {expected}"
                ));
            }
        }
    }
    Ok(())
}

fn nothing_is_missed(factory: &dyn VectorIndexFactory) -> Held {
    let vectors = whole(1600, 4, 39);
    let queries = whole(70, 4, 40);
    let index = filled(factory, &vectors)?;
    let exact = index
        .search_exactly(queries.view(), 5)
        .map_err(told("search_exactly"))?;
    for (number, (query, row)) in queries.rows().into_iter().zip(rows(&exact)).enumerate() {
        equal(&row, &best(&vectors, &query.to_vec(), 0..1600, 5), number)?;
    }
    for least in [f32::NEG_INFINITY, -3.0, 0.0, 9.0, 1e9] {
        let within = index
            .within(queries.view(), least)
            .map_err(told("within"))?;
        if within.len() != queries.nrows() {
            return Err(format!(
                "{} results for {} queries",
                within.len(),
                queries.nrows()
            ));
        }
        for (number, (query, hits)) in queries.rows().into_iter().zip(&within).enumerate() {
            let mut expected = best(&vectors, &query.to_vec(), 0..1600, 1600);
            expected.retain(|entry| entry.0 >= least);
            let hits: Vec<(f32, u32)> = hits
                .iter()
                .map(|hit| (hit.similarity, hit.position))
                .collect();
            if hits != expected {
                return Err(format!(
                    "query {number} has {} vectors with at least {least}, not {}",
                    hits.len(),
                    expected.len()
                ));
            }
        }
    }
    Ok(())
}

/// A search with its arguments laid out in another way.
fn views(factory: &dyn VectorIndexFactory) -> Held {
    let wide = whole(1400, 12, 41);
    let (vectors, queries) = (wide.slice(s![..;-1, ..;2]), wide.slice(s![3..60;2, ..6]));
    let columns = wide
        .slice(s![..200, ..6])
        .t()
        .as_standard_layout()
        .into_owned();
    let mut strided = filled(factory, &vectors.to_owned())?;
    let mut plain = filled(factory, &vectors.to_owned())?;
    strided.append(vectors).map_err(told("append"))?;
    plain
        .append(vectors.to_owned().view())
        .map_err(told("append"))?;
    strided
        .append(columns.t())
        .map_err(told("append of columns"))?;
    plain
        .append(wide.slice(s![..200, ..6]).to_owned().view())
        .map_err(told("append"))?;
    let owned = queries.to_owned();
    let one = strided.survey(queries, 4).map_err(told("survey"))?;
    let other = plain.survey(owned.view(), 4).map_err(told("survey"))?;
    if one != other {
        return Err("strided rows find something else".into());
    }
    Ok(())
}

fn nan(factory: &dyn VectorIndexFactory) -> Held {
    let vectors = whole(1300, 4, 42);
    let index = filled(factory, &vectors)?;
    let clean = whole(40, 4, 43);
    let mut dirty = clean.clone();
    dirty.row_mut(7).fill(f32::NAN);
    dirty[[20, 2]] = f32::NAN;
    dirty.row_mut(30).fill(f32::INFINITY);
    let found = index
        .survey(dirty.view(), 3)
        .map_err(told("survey"))?
        .neighbours;
    let expected = index.search(clean.view(), 3).map_err(told("search"))?;
    for (number, (found, expected)) in rows(&found).into_iter().zip(rows(&expected)).enumerate() {
        match number {
            7 | 20 => equal(&found, &[(f32::NEG_INFINITY, NONE); 3], number)?,
            30 => {}
            _ => equal(&found, &expected, number)?,
        }
    }
    index.within(dirty.view(), 1.0).map_err(told("within"))?;
    index
        .within(clean.view(), f32::NAN)
        .map_err(told("within"))?;
    index
        .search_first(dirty.view(), 2, 9)
        .map_err(told("search_first"))?;
    Ok(())
}

fn alone(factory: &dyn VectorIndexFactory) -> Held {
    let vectors = whole(1900, 5, 44);
    let queries = whole(70, 5, 45);
    let index = filled(factory, &vectors)?;
    let together = rows(&index.search(queries.view(), 4).map_err(told("search"))?);
    for (number, together) in together.iter().enumerate() {
        let one = queries.slice(s![number..=number, ..]);
        let alone = rows(&index.search(one, 4).map_err(told("search"))?);
        equal(&alone[0], together, number)?;
    }
    let real = patches(1200, 40, 9, 46, 0);
    let queries = patches(45, 40, 9, 46, 1);
    let index = filled(factory, &real)?;
    let together = rows(&index.search(queries.view(), 3).map_err(told("search"))?);
    for (number, together) in together.iter().enumerate() {
        let one: ArrayView2<'_, f32> = queries.slice(s![number..=number, ..]);
        let alone = rows(&index.search(one, 3).map_err(told("search"))?);
        let far = alone[0]
            .iter()
            .zip(together)
            .any(|(a, b)| (a.0 - b.0).abs() > CLOSE);
        if far {
            return Err(format!(
                "query {number} finds {:?} alone, {together:?} among others",
                alone[0]
            ));
        }
    }
    Ok(())
}

fn threads(factory: &dyn VectorIndexFactory) -> Held {
    let vectors = whole(2000, 6, 47);
    let index = filled(factory, &vectors)?;
    let queries: Vec<Array2<f32>> = (0..8).map(|part| whole(50, 6, 48 + part)).collect();
    let survey = |queries: &Array2<f32>| index.survey(queries.view(), 3).map_err(told("survey"));
    let expected: Result<Vec<_>, String> = queries.iter().map(survey).collect();
    let expected = expected?;
    let work = |number: usize| {
        for turn in 0..6 {
            let at = (number + turn) % queries.len();
            if survey(&queries[at])? != expected[at] {
                return Err(format!("thread {number} finds something else"));
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        // All are waited for, whatever the first says.
        let held: Vec<Held> = joined
            .map(|thread| thread.unwrap_or_else(|_| Err("a thread panics".into())))
            .collect();
        held.into_iter().collect()
    })
}
