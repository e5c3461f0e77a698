// Draws the OpenAPI document of this service: routes by group, parameters, bodies, answers, schemas, a call to copy.
"use strict";

const METHODS = ["get", "post", "put", "delete"];

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) node.setAttribute(name, value);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Text with paragraphs and `code`. */
function prose(text) {
  return (text ?? "").split(/\n\s*\n/).filter(Boolean).map((paragraph) =>
    el("p", {}, paragraph.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part))));
}

function anchor(method, path) {
  return `${method}-${path}`.replace(/[^a-z0-9]+/gi, "-").replace(/-$/, "");
}

const nameOf = (ref) => ref.split("/").pop();

/** A path that may be broken after each of its parts. */
function breakable(path) {
  return path.split(/(?<=\/)/).flatMap((part) => [part, el("wbr")]);
}

/** A schema in a few words, linked where it has a name. */
function type(schema) {
  if (!schema) return "any";
  if (schema.$ref) return el("a", { href: `#schema-${nameOf(schema.$ref)}` }, nameOf(schema.$ref));
  const several = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (several) {
    const joint = schema.allOf ? " & " : " | ";
    return several.map((one, i) => [i ? joint : "", type(one)]);
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array" || schema.items) return ["[", type(schema.items), "]"];
  const types = [schema.type ?? "any"].flat().join(" | ");
  return schema.format ? `${types} (${schema.format})` : types;
}

function bounds(schema) {
  if (!schema) return "";
  const { minimum, maximum } = schema;
  if (minimum !== undefined && maximum !== undefined) return ` [${minimum}, ${maximum}]`;
  return minimum !== undefined ? ` ≥ ${minimum}` : "";
}

function table(heads, rows) {
  return el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, i) => el("td", i === 2 ? { class: "description" } : {}, cell))))));
}

const shown = (value) => (value === undefined ? "" : el("code", {}, typeof value === "string" ? value : JSON.stringify(value)));

function example(value) {
  return value === undefined ? null : el("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
}

function exampleOf(content, schemas) {
  if (content.example !== undefined) return content.example;
  const schema = content.schema?.$ref ? schemas[nameOf(content.schema.$ref)] : content.schema;
  return schema?.examples?.[0];
}

function contents(content, schemas, seen) {
  return Object.entries(content ?? {}).map(([kind, body]) => {
    const name = JSON.stringify(body.schema ?? null);
    const value = seen.has(name) ? undefined : exampleOf(body, schemas);
    seen.add(name);
    const what = body.schema ? type(body.schema) : body.example === undefined ? "a file" : "";
    return el("div", {}, el("code", {}, kind), " ", what,
      value === undefined ? null : el("details", {}, el("summary", {}, "Example"), example(value)));
  });
}

/** The call as it is typed in a shell. */
function curl(method, path, operation, schemas) {
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => {
    const found = operation.parameters?.find((p) => p.in === "path" && p.name === name);
    return found?.example ?? name;
  });
  const origin = location.origin + location.pathname.replace(/\/docs\/?$/, "");
  const words = ["curl"];
  if (method !== "get") words.push("-X", method.toUpperCase());
  words.push(`'${origin}${filled}'`);
  if (operation.security) words.push("-H", "\"Authorization: Bearer $RARECLIP_KEY\"");
  const content = operation.requestBody?.content ?? {};
  if (content["image/*"]) {
    words.push("-H", "'Content-Type: image/png'", "--data-binary", "@image.png");
  } else if (content["application/json"]) {
    const value = exampleOf(content["application/json"], schemas) ?? operation.requestBody.example;
    words.push("-H", "'Content-Type: application/json'");
    if (value !== undefined) words.push("-d", `'${JSON.stringify(value)}'`);
  } else if (content["application/octet-stream"]) {
    words.push("-H", "'Content-Type: application/octet-stream'", "--data-binary", "@line-1.state");
  }
  return words.join(" ");
}

function route(method, path, operation, schemas) {
  const seen = new Set();
  const parameters = (operation.parameters ?? []).map((p) => [
    [el("code", {}, p.name), el("div", { class: "faint" }, p.in, p.required ? ", required" : "")],
    [type(p.schema), bounds(p.schema)],
    prose(p.description),
    shown(p.example),
  ]);
  const body = operation.requestBody;
  return el("section", { class: "route", id: anchor(method, path) },
    el("h3", {}, el("span", { class: `method ${method}` }, method.toUpperCase()), " ", path),
    el("p", {}, el("strong", {}, operation.summary ?? "")),
    prose(operation.description),
    parameters.length > 0 && [el("h4", {}, "Parameters"), table(["Name", "Type", "Description", "Example"], parameters)],
    body && [el("h4", {}, "Body"), prose(body.description), contents(body.content, schemas, seen)],
    el("h4", {}, "Answers"),
    Object.entries(operation.responses ?? {}).map(([status, answer]) =>
      el("div", {}, el("strong", {}, status), " ", answer.description, contents(answer.content, schemas, seen))),
    el("h4", {}, "Call"),
    el("pre", { tabindex: "0" }, curl(method, path, operation, schemas)));
}

/** The fields of a schema, those of its parts among them. */
function fields(schema) {
  const own = Object.entries(schema.properties ?? {}).map(([name, value]) => [name, value, schema.required?.includes(name)]);
  const parts = [...(schema.allOf ?? []), ...(schema.oneOf ?? []), ...(schema.anyOf ?? [])];
  return own.concat(parts.filter((part) => !part.$ref).flatMap(fields));
}

function schemaSection(name, schema) {
  const rows = fields(schema).map(([field, value, required]) => [
    [el("code", {}, field), required ? el("div", { class: "faint" }, "required") : null],
    [type(value), bounds(value)],
    prose(value.description),
  ]);
  return el("section", { class: "route", id: `schema-${name}` },
    el("h3", {}, name),
    prose(schema.description),
    rows.length > 0 ? table(["Field", "Type", "Description"], rows) : el("p", {}, type(schema)),
    schema.examples?.[0] !== undefined && el("details", {}, el("summary", {}, "Example"), example(schema.examples[0])));
}

function draw(api) {
  const schemas = api.components?.schemas ?? {};
  const groups = new Map((api.tags ?? []).map((tag) => [tag.name, []]));
  const about = new Map((api.tags ?? []).map((tag) => [tag.name, tag.description]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((m) => item[m])) {
      const tag = item[method].tags?.[0] ?? "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([method, path, item[method]]);
    }
  }
  const link = (href, ...words) => el("li", {}, el("a", { href }, ...words));
  const menu = [];
  const parts = [prose(api.info.description)];
  for (const [tag, routes] of groups) {
    menu.push(el("h2", {}, tag), el("ul", {}, routes.map(([method, path]) =>
      link(`#${anchor(method, path)}`, el("span", { class: `method ${method}` }, method.toUpperCase()), " ", breakable(path)))));
    parts.push(el("h2", {}, tag), prose(about.get(tag)), routes.map(([method, path, operation]) => route(method, path, operation, schemas)));
  }
  menu.push(el("h2", {}, "schemas"), el("ul", {}, Object.keys(schemas).map((name) => link(`#schema-${name}`, name))));
  parts.push(el("h2", {}, "schemas"), Object.entries(schemas).map(([name, schema]) => schemaSection(name, schema)));
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("contents").replaceChildren(...menu);
  document.getElementById("main").replaceChildren(...parts.flat(Infinity));
}

function find(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("section.route")) {
    const text = section.textContent.toLowerCase();
    section.hidden = !wanted.every((word) => text.includes(word));
  }
  for (const item of document.querySelectorAll("nav li")) {
    const target = document.getElementById(item.firstChild.getAttribute("href").slice(1));
    item.hidden = target?.hidden ?? false;
  }
}

async function main() {
  try {
    const response = await fetch("openapi.json");
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    draw(await response.json());
  } catch (error) {
    document.getElementById("state").textContent = `The document cannot be read: ${error.message}`;
    return;
  }
  const input = document.getElementById("find");
  input.addEventListener("input", () => find(input.value));
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

main();
