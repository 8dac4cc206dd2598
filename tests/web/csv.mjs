// Reading CSV as RFC 4180 has it. Anything else is an error.

import { parse as parser } from "csv-parse/sync";

/** The rows of a file, each a list of its cells. */
export const parse = (text) => parser(text, { record_delimiter: "\r\n", bom: false });
