// The Node package `openai`.
import OpenAI from 'openai'
import { QUESTION, run } from './scenarios.mjs'

const messages = [{ role: 'developer', content: 'You are a helpful assistant.' }, { role: 'user', content: QUESTION }]
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false }
const tool = { type: 'function', function: { name: 'get_weather', parameters, strict: true } }
const client = (target) => new OpenAI({ baseURL: target.baseURL, apiKey: 'none', maxRetries: 0 })
const ask = (target, more) =>
  client(target).chat.completions.create({ model: target.chatModel, messages, temperature: 0, max_completion_tokens: 20, ...more })

await run({
  chat: async (target) => (await ask(target)).choices[0].message.content,
  stream: async (target) => {
    let text = ''
    for await (const chunk of await ask(target, { stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta.content ?? ''
    }
    return text
  },
  helper: async (target) => {
    const stream = client(target).chat.completions.stream({ model: target.chatModel, messages, temperature: 0, max_tokens: 20 })
    return (await stream.finalChatCompletion()).choices[0].message.content
  },
  json_schema: async (target) =>
    (await ask(target, { response_format: { type: 'json_schema', json_schema: { name: 'place', strict: true, schema: parameters } } })).choices[0].message.content,
  tools: async (target) => (await ask(target, { tools: [tool], tool_choice: 'auto', parallel_tool_calls: false })).choices[0].message.content,
  call: async (target) => {
    const question = [{ role: 'user', content: 'What is the weather in Rome?' }]
    const options = {
      model: target.chatModel, messages: question, tools: [tool], tool_choice: 'required', parallel_tool_calls: false, temperature: 0, max_tokens: 60,
    }
    const answer = await client(target).chat.completions.create(options)
    const streamed = await client(target).chat.completions.stream(options).finalChatCompletion()
    const [made, again] = [answer, streamed].map((one) => one.choices[0].message.tool_calls[0].function)
    if (made.name !== again.name || made.arguments !== again.arguments) throw new Error(`${JSON.stringify([made, again])}`)
    return made.arguments
  },
  image: async (target) => {
    const content = [{ type: 'text', text: 'What is this?' }, { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }]
    return (await ask(target, { messages: [{ role: 'user', content }] })).choices[0].message.content
  },
  completion: async (target) =>
    (await client(target).completions.create({ model: target.chatModel, prompt: 'Once upon a time', max_tokens: 8, temperature: 0 })).choices[0].text,
  // The package asks for base64 by itself.
  embed: async (target) =>
    (await client(target).embeddings.create({ model: target.embeddingModel, input: ['one', 'two'] })).data.map((item) => item.embedding.length),
  models: async (target) => (await client(target).models.list()).data.map((model) => model.id),
  // The package escapes the colon of a name, and a slash, too.
  retrieve: async (target) => (await client(target).models.retrieve(target.chatModel)).id,
})
