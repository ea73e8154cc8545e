export const dynamic = 'force-dynamic'

export async function GET() {
  for (let time = 0; time < 3; time++) {
    globalThis.gc()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return Response.json(process.memoryUsage().heapUsed)
}
