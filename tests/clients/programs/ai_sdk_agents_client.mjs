// The Vercel AI SDK by the two APIs that agents speak: `@ai-sdk/openai`, whose default is /v1/responses, and `@ai-sdk/anthropic`.
import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { generateObject, generateText, streamText, tool } from 'ai'
import { z } from 'zod'
import { QUESTION, run } from './scenarios.mjs'

globalThis.AI_SDK_LOG_WARNINGS = false
const PROVIDERS = { responses: createOpenAI, anthropic: createAnthropic }
const common = { prompt: QUESTION, system: 'You are a helpful assistant.', temperature: 0, maxOutputTokens: 20, maxRetries: 0 }
const schema = z.object({ city: z.string().max(20) })
const weather = tool({ description: 'The weather in a city.', inputSchema: schema, execute: async () => 'sunny' })
// Asked once more with the tool's result, and without a call: the small model would go on calling.
const asked = { prompt: 'What is the weather in Rome?', tools: { weather }, temperature: 0, maxOutputTokens: 60, maxRetries: 0,
  providerOptions: { openai: { parallelToolCalls: false }, anthropic: { disableParallelToolUse: true } },
  stopWhen: ({ steps }) => steps.length === 2, prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber ? 'none' : 'required' }) }

async function readAll(result) {
  let text = ''
  for await (const part of result.fullStream) {
    if (part.type === 'error') throw part.error
    if (part.type === 'text-delta') text += part.text
  }
  return text
}

function told(steps) {
  const results = steps.flatMap((step) => step.toolResults).map((made) => `${JSON.stringify(made.input)} ${made.output}`)
  return `${results.join()} in ${steps.length} steps`
}

const scenarios = {}
for (const [name, create] of Object.entries(PROVIDERS)) {
  const model = (target, wanted = target.chatModel) => create({ baseURL: target.baseURL, apiKey: 'none' })(wanted)
  Object.assign(scenarios, {
    [`${name}_text`]: async (target) => (await generateText({ model: model(target), ...common })).text,
    [`${name}_stream`]: (target) => readAll(streamText({ model: model(target), ...common })),
    [`${name}_object`]: async (target) => JSON.stringify((await generateObject({ model: model(target), ...common, schema, maxOutputTokens: 60 })).object),
    [`${name}_call`]: async (target) => told((await generateText({ model: model(target), ...asked })).steps),
    [`${name}_call_streamed`]: async (target) => {
      const result = streamText({ model: model(target), ...asked })
      await readAll(result)
      return told(await result.steps)
    },
    [`${name}_missing`]: (target) =>
      generateText({ model: model(target, 'none-such'), ...common }).then(() => 'answered', (error) => `${error.statusCode} ${error.message}`),
    [`${name}_too_long`]: (target) =>
      generateText({ model: model(target), ...common, prompt: 'word '.repeat(9000) }).then(() => 'answered', (error) => `${error.statusCode} ${error.message}`),
  })
}
scenarios.anthropic_skill = async (target) =>
  (await generateText({ model: createAnthropic({ baseURL: target.baseURL, apiKey: 'none' })('skill:summarization'), prompt: 'The sun is a star. '.repeat(3), maxRetries: 0 })).text

await run(scenarios)
