// The Vercel AI SDK: `ai` with `@ai-sdk/openai-compatible`, and with `@ai-sdk/openai` (its chat models; its default is /v1/responses).
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { embedMany, generateObject, generateText, streamObject, streamText, tool } from 'ai'
import { z } from 'zod'
import { QUESTION, run } from './scenarios.mjs'

globalThis.AI_SDK_LOG_WARNINGS = false
const compatible = (target, options) =>
  createOpenAICompatible({ name: 'llmos', baseURL: target.baseURL, apiKey: 'none', includeUsage: true, ...options })
const openai = (target) => createOpenAI({ baseURL: target.baseURL, apiKey: 'none' })
const common = { prompt: QUESTION, temperature: 0, maxOutputTokens: 20, maxRetries: 0 }
const schema = z.object({ city: z.string() })
const place = z.object({ city: z.string().max(20), people: z.number().int().min(0).max(100000000), kind: z.enum(['city', 'village']).nullable() })
const placed = { ...common, schema: place, maxOutputTokens: 100 }
const weather = tool({ description: 'The weather in a city.', inputSchema: schema, execute: async () => 'sunny' })
const asked = { prompt: 'What is the weather in Rome?', tools: { weather }, toolChoice: 'required', temperature: 0, maxOutputTokens: 60, maxRetries: 0,
  providerOptions: { llmos: { parallel_tool_calls: false } } }

async function readAll(result) {
  let text = ''
  for await (const part of result.fullStream) {
    if (part.type === 'error') throw part.error
    if (part.type === 'text-delta') text += part.text
  }
  return text
}

await run({
  generate_text: async (target) => (await generateText({ model: compatible(target)(target.chatModel), ...common })).text,
  stream_text: (target) => readAll(streamText({ model: compatible(target)(target.chatModel), system: 'You are a helpful assistant.', ...common })),
  generate_object: async (target) => (await generateObject({ model: compatible(target)(target.chatModel), schema, ...common })).object,
  generate_object_schema: async (target) =>
    (await generateObject({ model: compatible(target, { supportsStructuredOutputs: true })(target.chatModel), schema, ...common })).object,
  object_limited: async (target) =>
    (await generateObject({ model: compatible(target, { supportsStructuredOutputs: true })(target.chatModel), ...placed })).object,
  object_streamed: async (target) => {
    const result = streamObject({ model: compatible(target, { supportsStructuredOutputs: true })(target.chatModel), ...placed })
    for await (const part of result.partialObjectStream) void part
    return result.object
  },
  openai_object: async (target) => (await generateObject({ model: openai(target).chat(target.chatModel), ...placed })).object,
  tools: async (target) => (await generateText({ model: compatible(target)(target.chatModel), tools: { weather }, ...common })).text,
  tools_streamed: (target) => readAll(streamText({ model: compatible(target)(target.chatModel), tools: { weather }, ...common })),
  // The SDK checks the arguments, runs the tool, and asks again with its result.
  call: async (target) => {
    const result = await generateText({ model: compatible(target)(target.chatModel), ...asked })
    return result.steps.flatMap((step) => step.toolResults).map((made) => `${JSON.stringify(made.input)} ${made.output}`).join()
  },
  call_streamed: async (target) => {
    const result = streamText({ model: compatible(target)(target.chatModel), ...asked })
    let text = ''
    for await (const part of result.fullStream) {
      if (part.type === 'error') throw part.error
      if (part.type === 'tool-result') text += `${JSON.stringify(part.input)} ${part.output}`
    }
    return text
  },
  completion: async (target) =>
    (await generateText({ model: compatible(target).completionModel(target.chatModel), ...common, prompt: 'Once upon a time' })).text,
  embed_many: async (target) => {
    const model = compatible(target).embeddingModel?.(target.embeddingModel) ?? compatible(target).textEmbeddingModel(target.embeddingModel)
    return (await embedMany({ model, values: ['one', 'two'], maxRetries: 0 })).embeddings.map((vector) => vector.length)
  },
  openai_generate_text: async (target) => (await generateText({ model: openai(target).chat(target.chatModel), ...common })).text,
  openai_stream_text: (target) => readAll(streamText({ model: openai(target).chat(target.chatModel), ...common })),
  openai_responses: async (target) => (await generateText({ model: openai(target)(target.chatModel), ...common })).text,
  openai_embed_many: async (target) =>
    (await embedMany({ model: openai(target).embedding(target.embeddingModel), values: ['one', 'two'], maxRetries: 0 })).embeddings.map((vector) => vector.length),
})
