// LangChain.js: `@langchain/openai`.
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { tool } from '@langchain/core/tools'
import { z } from 'zod'
import { QUESTION, run } from './scenarios.mjs'

const model = (target) =>
  new ChatOpenAI({ model: target.chatModel, apiKey: 'none', temperature: 0, maxTokens: 20, maxRetries: 0, configuration: { baseURL: target.baseURL } })
const weather = tool(async () => 'sunny', { name: 'get_weather', description: 'The weather in a city.', schema: z.object({ city: z.string() }) })

await run({
  invoke: async (target) => (await model(target).invoke(QUESTION)).content,
  stream: async (target) => {
    let text = ''
    for await (const chunk of await model(target).stream(QUESTION)) text += chunk.content
    return text
  },
  structured: (target) => model(target).withStructuredOutput(z.object({ city: z.string() })).invoke(QUESTION),
  tools: async (target) => (await model(target).bindTools([weather]).invoke(QUESTION)).content,
  embed: async (target) => {
    const embeddings = new OpenAIEmbeddings({ model: target.embeddingModel, apiKey: 'none', maxRetries: 0, configuration: { baseURL: target.baseURL } })
    return (await embeddings.embedDocuments(['one', 'two'])).map((vector) => vector.length)
  },
})
