// Records what a client sends through the "pg" driver, and renders it as statements for pgbench. The prepare scripts copy
// this file next to the installed packages, so that it patches the driver the client itself uses.
import pg from "pg";
import utils from "pg/lib/utils.js";

const sent = [];
let recording = false;

const query = pg.Client.prototype.query;
pg.Client.prototype.query = function (config, values, ...rest) {
    if (recording) {
        const { text, values: own } = typeof config === "string" ? { text: config } : config;
        sent.push({ text, values: own ?? (Array.isArray(values) ? values : []) });
    }
    return query.call(this, config, values, ...rest);
};

// The statements that were sent while `work` ran.
export async function record(work) {
    sent.length = 0;
    recording = true;
    try {
        await work();
    } finally {
        recording = false;
    }
    if (sent.some(({ text }) => /^\s*(begin|start transaction)/i.test(text))) {
        throw new Error("the client opens a transaction, which the scripts would leave out");
    }
    return [...sent];
}

// The one statement among `statements` whose text matches, or an error: a peer whose client works in another way than this
// adapter knows is not measured.
export function only(statements, pattern) {
    const found = statements.filter((statement) => pattern.test(statement.text));
    if (found.length !== 1) {
        throw new Error(`${found.length} statements match ${pattern}, not one, of ${statements.length} that were sent`);
    }
    return found[0];
}

// A literal in which pgbench finds no variable: it looks for :name also inside quotes.
function literal(value) {
    const text = utils.prepareValue(value);
    if (text === null || text === undefined) return "null";
    const escaped = String(text).replace(/[\\']/g, "\\$&").replace(/:/g, "\\x3a");
    return (escaped.includes("\\") ? "E'" : "'") + escaped + "'";
}

// The statement with its parameters filled in. `variables` maps a parameter's number to pgbench text that stands for it.
export function render(statement, variables = {}) {
    const text = statement.text.replace(/\$(\d+)\b/g, (_, n) => variables[n] ?? literal(statement.values[n - 1]));
    return text.trim().replace(/;$/, "");
}
