// Runs a client's scenarios against ROOT (http://HOST:PORT) and prints one JSON line for each: name, and value or error.
//
//   node openai_client.mjs ROOT [--label] [--chat-model M] [--embedding-model M] [NAME ...]
//
// With --label the base URL tells the recorder the scenario's name.
import { parseArgs } from 'node:util'

export const QUESTION = 'What is the capital of France?'

export async function run(scenarios) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      label: { type: 'boolean', default: false },
      'chat-model': { type: 'string', default: 'smollm2:135m' },
      'embedding-model': { type: 'string', default: 'all-minilm-l6-v2' },
    },
  })
  const [root, ...names] = positionals
  for (const name of names.length ? names : Object.keys(scenarios)) {
    const baseURL = `${values.label ? `${root}/@${name}` : root}/v1`
    const target = { baseURL, chatModel: values['chat-model'], embeddingModel: values['embedding-model'] }
    let result
    try {
      result = { value: await scenarios[name](target) }
    } catch (error) {
      result = { error: `${error.name}: ${error.message}` }
    }
    console.log(JSON.stringify({ name, ...result }))
  }
}
