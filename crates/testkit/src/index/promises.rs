//! What an index holds, and what it refuses.

use ndarray::Array2;
use rareclip_core::BoxError;
use rareclip_core::index::VectorIndexFactory;

use super::checks::{same_vectors, told};
use super::data::{empty, filled, whole};
use super::promise::Promise;
use crate::broken::Held;

pub(super) const ALL: &[Promise] = &[
    Promise {
        says: "an empty index finds nothing and says that it is empty",
        holds: nothing_in_an_empty_index,
    },
    Promise {
        says: "vectors come back as they were added, in arrival order",
        holds: vectors_come_back,
    },
    Promise {
        says: "retained vectors close ranks, and later ones follow them",
        holds: ranks_close,
    },
    Promise {
        says: "memory is reported, grows with the vectors, and stays within what was foretold",
        holds: memory_is_reported,
    },
    Promise {
        says: "vectors of another width are an error that leaves the index as it is",
        holds: other_widths_are_errors,
    },
    Promise {
        says: "positions that do not ascend or are out of range are an error that leaves the index as it is",
        holds: wrong_positions_are_errors,
    },
];

fn nothing_in_an_empty_index(factory: &dyn VectorIndexFactory) -> Held {
    let mut index = empty(factory, 4)?;
    let queries = whole(3, 4, 1);
    let found = index.search(queries.view(), 5).map_err(told("search"))?;
    let survey = index.survey(queries.view(), 5).map_err(told("survey"))?;
    let first = index
        .search_first(queries.view(), 5, 0)
        .map_err(told("search_first"))?;
    let earlier = index
        .nearest_earlier(&[], 0, 2)
        .map_err(told("nearest_earlier"))?;
    index.retain(&[]).map_err(told("retain"))?;
    index
        .append(Array2::zeros((0, 4)).view())
        .map_err(told("append of no rows"))?;
    let shapes = [
        found.position.dim(),
        survey.neighbours.position.dim(),
        first.position.dim(),
    ];
    let said = (
        index.len(),
        index.is_empty(),
        index.width(),
        survey.best_query.len(),
    );
    let held = index.vectors().map_err(told("vectors"))?.len();
    if shapes == [(3, 0); 3]
        && earlier.position.dim() == (0, 2)
        && said == (0, true, 4, 0)
        && held == 0
    {
        return Ok(());
    }
    Err(format!(
        "results have shapes {shapes:?}; (len, is_empty, width, best queries) = {said:?}"
    ))
}

fn vectors_come_back(factory: &dyn VectorIndexFactory) -> Held {
    let all = whole(900, 5, 2);
    let mut index = empty(factory, 5)?;
    let mut end = 0;
    for step in [1, 0, 2, 300, 597] {
        let piece = all.slice(ndarray::s![end..end + step, ..]);
        index.append(piece).map_err(told("append"))?;
        end += step;
        same_vectors(&*index, &all.slice(ndarray::s![..end, ..]).to_owned())?;
    }
    Ok(())
}

fn ranks_close(factory: &dyn VectorIndexFactory) -> Held {
    let all = whole(1500, 6, 3);
    let more = whole(40, 6, 4);
    let choices: [Vec<usize>; 5] = [
        (0..1500).collect(),
        (0..1500).filter(|at| at % 3 != 1).collect(),
        (0..700).collect(),
        (900..1500).collect(),
        Vec::new(),
    ];
    for kept in choices {
        let mut index = filled(factory, &all)?;
        index.retain(&kept).map_err(told("retain"))?;
        let mut expected = all.select(ndarray::Axis(0), &kept);
        same_vectors(&*index, &expected)?;
        index
            .append(more.view())
            .map_err(told("append after retain"))?;
        expected
            .append(ndarray::Axis(0), more.view())
            .map_err(|error| error.to_string())?;
        same_vectors(&*index, &expected)?;
        super::searches::agrees(&*index, &expected, &whole(25, 6, 5), 4)?;
    }
    Ok(())
}

fn memory_is_reported(factory: &dyn VectorIndexFactory) -> Held {
    let mut index = factory.build(32, 0).map_err(told("build"))?;
    let mut before = index.bytes();
    for _ in 0..3 {
        index
            .append(whole(1000, 32, 6).view())
            .map_err(told("append"))?;
        let bytes = index.bytes();
        if bytes <= before || bytes < index.len() {
            return Err(format!(
                "it says {bytes} bytes for {} vectors, {before} before",
                index.len()
            ));
        }
        before = bytes;
    }
    let (found, most) = (index.bytes(), index.capacity_bytes(3000));
    let mut planned = factory.build(32, 3000).map_err(told("build"))?;
    for _ in 0..3 {
        planned
            .append(whole(1000, 32, 6).view())
            .map_err(told("append"))?;
        let kept: Vec<usize> = (0..planned.len()).step_by(2).collect();
        planned.retain(&kept).map_err(told("retain"))?;
    }
    let declared = factory.capacity_bytes(32, 3000).unwrap_or(u64::MAX);
    let most_built = u64::try_from(planned.capacity_bytes(3000)).unwrap_or(u64::MAX);
    if most_built > declared {
        return Err(format!(
            "its options declare {declared} bytes for 3000 vectors, once built it says {most_built}"
        ));
    }
    let held = planned.bytes();
    if held > planned.capacity_bytes(3000) {
        return Err(format!(
            "{held} bytes are more than the {most} it foretold; grown freely it has {found}"
        ));
    }
    Ok(())
}

fn other_widths_are_errors(factory: &dyn VectorIndexFactory) -> Held {
    let all = whole(30, 4, 7);
    let mut index = filled(factory, &all)?;
    for width in [3, 5, 8] {
        let other = whole(4, width, 8);
        refused(index.append(other.view()), "append")?;
        refused(index.search(other.view(), 2), "search")?;
        refused(index.survey(other.view(), 2), "survey")?;
        refused(index.search_first(other.view(), 2, 3), "search_first")?;
        refused(index.search_exactly(other.view(), 2), "search_exactly")?;
        refused(index.within(other.view(), 0.0), "within")?;
    }
    same_vectors(&*index, &all)
}

fn wrong_positions_are_errors(factory: &dyn VectorIndexFactory) -> Held {
    let all = whole(30, 4, 9);
    let mut index = filled(factory, &all)?;
    for positions in [
        &[30][..],
        &[0, 31],
        &[2, 1],
        &[3, 3],
        &[0, 29, 5],
        &[usize::MAX],
    ] {
        refused(index.retain(positions), "retain")?;
    }
    let queries = whole(2, 4, 10);
    refused(
        index.search_first(queries.view(), 2, 31),
        "search_first beyond the end",
    )?;
    refused(index.nearest_earlier(&[3, 30], 0, 2), "nearest_earlier")?;
    same_vectors(&*index, &all)
}

fn refused<T>(result: Result<T, BoxError>, step: &str) -> Held {
    match result {
        Err(error) if error.to_string().is_empty() => Err(format!("{step} does not say why")),
        Err(_) => Ok(()),
        Ok(_) => Err(format!("{step} takes them")),
    }
}
